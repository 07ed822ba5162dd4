// The service's program: `app` serves until it is told to stop; `app health` is the container's health check.
package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	version = "1.0.0"
	// How long requests in flight may take once the service was told to stop.
	drain = 8 * time.Second
)

func main() {
	slog.SetDefault(newLogger(os.Stdout))
	if err := run(os.Args[1:]); err != nil {
		slog.Error("stopped", "error", err.Error())
		os.Exit(1)
	}
}

func run(words []string) error {
	port := os.Getenv("PORT")
	if len(words) > 0 && words[0] == "health" {
		return askHealth("http://127.0.0.1:" + port)
	}
	// A first process ignores SIGTERM until it asks for it.
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	return serve(stop, listener, newHandler(os.Getenv("ROUTE")))
}

// serve answers requests until stop is done, then finishes those that are being answered.
func serve(stop context.Context, listener net.Listener, handler http.Handler) error {
	// Limits against clients that send nothing: the standard library's defaults wait for ever.
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       75 * time.Second,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	slog.Info("serving", "address", listener.Addr().String())
	select {
	case err := <-failed:
		return err
	case <-stop.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	if err := server.Shutdown(ending); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
