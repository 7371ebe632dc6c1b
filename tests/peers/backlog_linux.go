package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// errNoBacklog is returned where connections are taken whatever the backlog.
var errNoBacklog = errors.New("the kernel takes any number of connections here")

// FullBacklog is the address of a listener that takes no more connections: the kernel
// drops the SYN, and connect hangs. close ends it. An error says that it cannot be had
// on this machine.
func FullBacklog() (addr string, close func(), err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	var conns []net.Conn
	close = func() {
		for _, c := range conns {
			_ = c.Close()
		}
		_ = unix.Close(fd)
	}
	if addr, err = listenForOne(fd); err != nil {
		close()
		return "", nil, err
	}
	for range 16 {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		cancel()
		if err != nil {
			return addr, close, nil
		}
		conns = append(conns, conn)
	}
	close()
	return "", nil, errNoBacklog
}

// listenForOne makes fd a listener with the shortest backlog there is.
func listenForOne(fd int) (addr string, err error) {
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", err
	}
	if err := unix.Listen(fd, 0); err != nil {
		return "", err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port), nil
}
