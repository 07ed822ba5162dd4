package main

import (
	"io"
	"log/slog"
	"strings"
)

// newLogger returns logs for machines to read: one JSON object a line, with the same names as the other services'.
func newLogger(out io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, field slog.Attr) slog.Attr {
			switch {
			case len(groups) > 0:
			case field.Key == slog.MessageKey:
				field.Key = "message"
			case field.Key == slog.LevelKey:
				field.Value = slog.StringValue(strings.ToLower(field.Value.String()))
			}
			return field
		},
	}))
}
