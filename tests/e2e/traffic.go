// Steady traffic to a gateway: RATE requests a second, by new connections and kept ones, of HTTP/1.1 and HTTP/2, and
// beside them web sockets and streams of events. Nothing is asked twice: what is not answered is a failure.
//
//	traffic ADDRESS HOST AUTHORITY RATE
//
// It takes lines: `key KEY` (of all requests from now on), `count`, which prints what was answered and what failed until
// now, as JSON, and `end`. AUTHORITY is the file of the certificate's authority.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	keptWorkers, newWorkers = 8, 24
	secondsForAnAnswer      = 20
)

var (
	address, host string
	roots         = x509.NewCertPool()
	key           atomic.Value
	stop          = make(chan bool)
	mutex         sync.Mutex
	answered      = map[string]int{}
	failed        = map[string]int{}
	slowest       time.Duration
)

func note(kind string, began time.Time, problem error) {
	mutex.Lock()
	defer mutex.Unlock()
	if problem != nil {
		failed[kind+": "+problem.Error()]++
		return
	}
	answered[kind]++
	slowest = max(slowest, time.Since(began))
}

func dial() (net.Conn, error) {
	dialer := &net.Dialer{Timeout: secondsForAnAnswer * time.Second}
	return tls.DialWithDialer(dialer, "tcp", address, &tls.Config{ServerName: host, RootCAs: roots, NextProtos: []string{"http/1.1"}})
}

func request(method, path string, headers ...string) *http.Request {
	var body io.Reader
	if method == "POST" {
		body = strings.NewReader("x")
	}
	made, err := http.NewRequest(method, "https://"+host+path, body)
	if err != nil {
		panic(err)
	}
	made.Header.Set("X-Api-Key", key.Load().(string))
	for at := 0; at+1 < len(headers); at += 2 {
		made.Header.Set(headers[at], headers[at+1])
	}
	return made
}

func whole(answer *http.Response, method, path string) error {
	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil {
		return err
	}
	if answer.StatusCode != 200 {
		return fmt.Errorf("status %d %.80s", answer.StatusCode, text)
	}
	if !strings.Contains(string(text), " "+method+" "+path+" ") {
		return fmt.Errorf("the answer is another request's: %.80s", text)
	}
	return nil
}

// One after the other on one connection of HTTP/1.1, until the gateway says that it closes it.
type client struct {
	connection net.Conn
	reader     *bufio.Reader
}

func (c *client) ask(method, path string) error {
	if c.connection == nil {
		connection, err := dial()
		if err != nil {
			return err
		}
		c.connection, c.reader = connection, bufio.NewReader(connection)
	}
	c.connection.SetDeadline(time.Now().Add(secondsForAnAnswer * time.Second))
	asked := request(method, path)
	err := asked.Write(c.connection)
	var answer *http.Response
	if err == nil {
		answer, err = http.ReadResponse(c.reader, asked)
	}
	if err == nil {
		err = whole(answer, method, path)
	}
	if err != nil || answer.Close {
		c.close()
	}
	return err
}

func (c *client) close() {
	if c.connection != nil {
		c.connection.Close()
		c.connection = nil
	}
}

// Whether all is to end, with what is waiting for a worker.
func over() bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

type job struct{ number int }

func (j job) target() (string, string) {
	if j.number%5 == 0 {
		return "POST", "/two/" + strconv.Itoa(j.number)
	}
	return "GET", "/one/" + strconv.Itoa(j.number)
}

func work(kind string, jobs chan job, keeps bool) {
	own := &client{}
	for each := range jobs {
		if over() {
			break
		}
		method, path := each.target()
		began := time.Now()
		note(kind+" "+method, began, own.ask(method, path))
		if !keeps {
			own.close()
		}
	}
	own.close()
}

func workHTTP2(jobs chan job) {
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{ServerName: host, RootCAs: roots},
		ForceAttemptHTTP2: true,
	}
	dialer := &net.Dialer{Timeout: secondsForAnAnswer * time.Second}
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, address)
	}
	asker := &http.Client{
		Transport:     transport,
		Timeout:       secondsForAnAnswer * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for each := range jobs {
		if over() {
			break
		}
		method, path := each.target()
		began := time.Now()
		answer, err := asker.Do(request(method, path))
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err // without the path, so that failures can be counted
		}
		if err == nil {
			if answer.ProtoMajor != 2 {
				err = fmt.Errorf("it was %s", answer.Proto)
			} else {
				err = whole(answer, method, path)
			}
		}
		note("HTTP/2 "+method, began, err)
	}
	transport.CloseIdleConnections()
}

// A web socket says each tenth of a second something, which comes back; its service may end it, which is in order.
func socket() error {
	connection, err := dial()
	if err != nil {
		return err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(secondsForAnAnswer * time.Second))
	asked := request("GET", "/two/echo", "Upgrade", "websocket", "Connection", "upgrade")
	if err := asked.Write(connection); err != nil {
		return err
	}
	reader := bufio.NewReader(connection)
	answer, err := http.ReadResponse(reader, asked)
	if err != nil {
		return err
	}
	if answer.StatusCode != 101 {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	for {
		select {
		case <-stop:
			return nil
		case <-time.After(100 * time.Millisecond):
		}
		connection.SetDeadline(time.Now().Add(secondsForAnAnswer * time.Second))
		if _, err := connection.Write([]byte("still here")); err != nil {
			return ended(err)
		}
		if _, err := io.ReadFull(reader, make([]byte, 10)); err != nil {
			return ended(err)
		}
		note("word on a web socket", time.Now(), nil)
	}
}

func ended(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// A stream of events may be ended by its service, which is in order; one that breaks off is a failure.
func events() error {
	connection, err := dial()
	if err != nil {
		return err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(secondsForAnAnswer * time.Second))
	asked := request("GET", "/two/events")
	if err := asked.Write(connection); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(connection), asked)
	if err != nil {
		return err
	}
	if answer.StatusCode != 200 {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	lines := bufio.NewReader(answer.Body)
	for {
		if over() {
			return nil
		}
		connection.SetDeadline(time.Now().Add(secondsForAnAnswer * time.Second))
		if _, err := lines.ReadString('\n'); err != nil {
			return ended(err)
		}
		note("line of events", time.Now(), nil)
	}
}

func again(kind string, stream func() error) {
	for {
		err := stream()
		note(kind, time.Now(), err)
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func main() {
	address, host = os.Args[1], os.Args[2]
	authority, err := os.ReadFile(os.Args[3])
	if err != nil || !roots.AppendCertsFromPEM(authority) {
		panic("no authority")
	}
	rate, err := strconv.Atoi(os.Args[4])
	if err != nil {
		panic(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Scan()
	key.Store(strings.TrimPrefix(lines.Text(), "key "))
	kept, fresh, second := make(chan job, 1<<16), make(chan job, 1<<16), make(chan job, 1<<16)
	var workers sync.WaitGroup
	start := func(work func()) {
		workers.Add(1)
		go func() { defer workers.Done(); work() }()
	}
	for range keptWorkers {
		start(func() { work("kept", kept, true) })
	}
	for range newWorkers {
		start(func() { work("new", fresh, false) })
	}
	for range 2 {
		start(func() { workHTTP2(second) })
		start(func() { again("web socket", socket) })
		start(func() { again("stream of events", events) })
	}
	start(func() {
		defer func() { close(kept); close(fresh); close(second) }()
		began := time.Now()
		for number := 1; ; number++ {
			// What was not started in time is started at once: the rate is kept over the whole.
			if wait := time.Until(began.Add(time.Duration(number) * time.Second / time.Duration(rate))); wait > 0 {
				select {
				case <-stop:
					return
				case <-time.After(wait):
				}
			}
			if over() {
				return
			}
			[]chan job{kept, fresh, kept, fresh, second}[number/5%5] <- job{number}
		}
	})
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "key "):
			key.Store(strings.TrimPrefix(line, "key "))
		case line == "count":
			mutex.Lock()
			text, _ := json.Marshal(map[string]any{"answered": answered, "failed": failed, "slowest": slowest.Milliseconds()})
			mutex.Unlock()
			fmt.Println(string(text))
		case line == "end":
			close(stop)
			workers.Wait()
			return
		}
	}
}
