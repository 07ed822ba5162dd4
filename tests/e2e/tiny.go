// A tiny service for tests: it can be slow, sick, crash or listen elsewhere, and says its version.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	address := ":" + os.Getenv("PORT")
	if elsewhere := os.Getenv("LISTEN"); elsewhere != "" {
		address = elsewhere
	}
	if len(os.Args) > 1 && os.Args[1] == "orphan" {
		exec.Command("/app", "nap").Start()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "nap" {
		time.Sleep(200 * time.Millisecond)
		return
	}
	if len(os.Args) > 1 {
		reply, err := http.Get("http://127.0.0.1" + address[strings.LastIndex(address, ":"):] + "/health")
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
	ending := make(chan bool)
	echo := func(w http.ResponseWriter, r *http.Request) {
		connection, _, _ := w.(http.Hijacker).Hijack()
		fmt.Fprintf(connection, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConnection: %s\r\n\r\n", r.Header.Get("Upgrade"), r.Header.Get("Connection"))
		go io.Copy(connection, connection)
	}
	http.HandleFunc("/one/echo", echo)
	http.HandleFunc("/two/echo", echo)
	events := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			fmt.Fprint(w, "data: tick\n\n")
			w.(http.Flusher).Flush()
			select {
			case <-ending:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	http.HandleFunc("/one/events", events)
	http.HandleFunc("/two/events", events)
	http.HandleFunc("/one/upload", func(w http.ResponseWriter, r *http.Request) {
		size, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintln(w, size, err)
	})
	http.HandleFunc("/one/orphans", func(w http.ResponseWriter, r *http.Request) {
		for range [6]int{} {
			exec.Command("/app", "orphan").Run()
		}
	})
	http.HandleFunc("/one/processes", func(w http.ResponseWriter, r *http.Request) {
		found, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, each := range found {
			stat, _ := os.ReadFile(each)
			fmt.Fprintln(w, string(stat))
		}
	})
	http.HandleFunc("/one/run", func(w http.ResponseWriter, r *http.Request) {
		program, _ := os.ReadFile("/app")
		os.WriteFile("/tmp/app", program, 0o755)
		fmt.Fprint(w, exec.Command("/tmp/app", "nap").Run())
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
	go func() { <-stop; close(ending); server.Shutdown(context.Background()); close(done) }()
	fmt.Println("listening on", address)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Println(err)
		os.Exit(1)
	}
	<-done
}
