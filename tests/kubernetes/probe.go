// A service for the tests of the node: says its name, and fetches what it is asked to, from inside its pod.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	http.HandleFunc("/fetch", func(reply http.ResponseWriter, request *http.Request) {
		answer, err := client.Get(request.URL.Query().Get("url"))
		if err != nil {
			http.Error(reply, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		io.Copy(reply, answer.Body)
	})
	http.HandleFunc("/", func(reply http.ResponseWriter, request *http.Request) {
		host, _ := os.Hostname()
		fmt.Fprint(reply, host)
	})
	if err := http.ListenAndServe(":8080", nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
