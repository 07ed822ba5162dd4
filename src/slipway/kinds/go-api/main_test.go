package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestARequestThatIsBeingAnsweredIsFinishedBeforeTheEnd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop, cancel := context.WithCancel(context.Background())
	defer cancel()
	arrived, ended, read := make(chan struct{}), make(chan error, 1), make(chan string, 1)
	slow := http.HandlerFunc(func(writer http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-stop.Done()
		time.Sleep(50 * time.Millisecond)
		_, _ = io.WriteString(writer, "whole")
	})
	go func() { ended <- serve(stop, listener, slow) }()
	go func() {
		answer, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			read <- err.Error()
			return
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		read <- string(body)
	}()
	<-arrived
	cancel()
	if body := <-read; body != "whole" {
		t.Errorf("read %q", body)
	}
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestTheHealthCheckTellsAServerThatIsWellFromOneThatIsNot(t *testing.T) {
	well := httptest.NewServer(newHandler(""))
	if err := askHealth(well.URL); err != nil {
		t.Error(err)
	}
	well.Close()
	if err := askHealth(well.URL); err == nil {
		t.Error("nobody answers there")
	}
	ill := httptest.NewServer(http.NotFoundHandler())
	defer ill.Close()
	if err := askHealth(ill.URL); err == nil || err.Error() != "answered 404" {
		t.Errorf("%v", err)
	}
}

func TestLogsHaveTheSameNamesAsTheOtherServices(t *testing.T) {
	var out bytes.Buffer
	newLogger(&out).Info("serving", "address", "[::]:8000")
	var line map[string]string
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line["message"] != "serving" || line["level"] != "info" || line["address"] != "[::]:8000" || line["time"] == "" {
		t.Errorf("%v", line)
	}
}
