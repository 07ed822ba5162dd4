// A tiny service for tests: it can be slow, sick or crash, and says its version.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	address := ":" + os.Getenv("PORT")
	if len(os.Args) > 1 {
		reply, err := http.Get("http://127.0.0.1" + address + "/health")
		if err != nil || reply.StatusCode != 200 {
			fmt.Println("not healthy", err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv("FAIL") == "crash" {
		fmt.Println("there is no database")
		os.Exit(3)
	}
	began := time.Now()
	http.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		if os.Getenv("FAIL") == "sick" || time.Since(began) < 300*time.Millisecond {
			w.WriteHeader(503)
		}
	})
	http.HandleFunc("/one/echo", func(w http.ResponseWriter, r *http.Request) {
		connection, _, _ := w.(http.Hijacker).Hijack()
		fmt.Fprintf(connection, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConnection: %s\r\n\r\n", r.Header.Get("Upgrade"), r.Header.Get("Connection"))
		go io.Copy(connection, connection)
	})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		pause, _ := time.ParseDuration(r.URL.Query().Get("sleep"))
		time.Sleep(pause)
		secret, _ := os.ReadFile("/run/secrets/TOKEN")
		info, err := os.Stat("/run/secrets/TOKEN")
		mode := "none"
		if err == nil {
			mode = info.Mode().String()
		}
		body := make([]byte, 1)
		size, _ := r.Body.Read(body)
		fmt.Fprintf(w, "%s %s %s secret=%d mode=%s body=%d", os.Getenv("VERSION"), r.Method, r.RequestURI, len(secret), mode, size)
	})
	server := &http.Server{Addr: address}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	done := make(chan bool)
	go func() { <-stop; server.Shutdown(context.Background()); close(done) }()
	fmt.Println("listening on", address)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Println(err)
		os.Exit(1)
	}
	<-done
}
