package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
)

// Item is something in stock: what it is called and how many there are.
type Item struct {
	ID    int    `json:"id"`
	Name  string `json:"name"`
	Stock int    `json:"stock"`
}

var stock = []Item{{1, "anchor", 12}, {2, "cable", 40}, {3, "compass", 7}, {4, "lantern", 23}}

// newHandler returns the API. It answers below the route for the gateway, which passes paths on unchanged, and for its
// health at the root too: that is where the container's own check asks.
func newHandler(route string) http.Handler {
	route = strings.TrimRight(route, "/")
	mux := http.NewServeMux()
	for path, answer := range map[string]func() any{
		"/health": health,
		"/items":  func() any { return stock },
		"/info":   info,
	} {
		mux.HandleFunc("GET "+route+path, sends(answer))
	}
	index := sends(func() any {
		return map[string]string{"health": route + "/health", "info": route + "/info", "items": route + "/items"}
	})
	mux.HandleFunc("GET "+route+"/{$}", index)
	if route != "" {
		mux.HandleFunc("GET "+route, index)
		mux.HandleFunc("GET /health", sends(health))
	}
	return mux
}

func health() any { return map[string]string{"status": "ok"} }

// info returns what this instance is: versions, and which settings and secrets it was given, never a secret's value.
func info() any {
	instance, _ := os.Hostname()
	given := map[string]string{}
	for _, name := range []string{"PORT", "ROUTE"} {
		if value, ok := os.LookupEnv(name); ok {
			given[name] = value
		}
	}
	return map[string]any{
		"service":  "api",
		"version":  version,
		"runtime":  "Go " + strings.TrimPrefix(runtime.Version(), "go"),
		"instance": instance,
		"env":      given,
		"secrets":  secretNames("/run/secrets"),
	}
}

// secretNames returns the names of the files that the platform has mounted, one for each of the service's `secrets`.
func secretNames(folder string) []string {
	names := []string{}
	files, _ := os.ReadDir(folder)
	for _, file := range files {
		names = append(names, file.Name())
	}
	return names
}

func sends(answer func() any) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(writer).Encode(answer()); err != nil {
			slog.Warn("an answer was not sent", "path", request.URL.Path, "error", err.Error())
		}
	}
}
