// A service for tests of platforms: `probe build` notes the machine it runs on in /machine; else it serves both notes.
package main

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

func machine() string {
	var about syscall.Utsname
	syscall.Uname(&about)
	name := ""
	for _, letter := range about.Machine {
		if letter != 0 {
			name += string(rune(letter))
		}
	}
	return name
}

func main() {
	if len(os.Args) > 1 {
		if err := os.WriteFile("/machine", []byte(machine()), 0o644); err != nil {
			panic(err)
		}
		return
	}
	built, _ := os.ReadFile("/machine")
	said := fmt.Sprintf("built on %s, runs on %s", built, machine())
	server, err := net.Listen("tcp", ":"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	for {
		connection, err := server.Accept()
		if err != nil {
			panic(err)
		}
		connection.Read(make([]byte, 4096))
		fmt.Fprintf(connection, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(said), said)
		connection.Close()
	}
}
