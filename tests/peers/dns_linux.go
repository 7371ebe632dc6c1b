package peers

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// silentDNSMark is set in a process that InNamespaces has made ready.
const silentDNSMark = "CURFEW_TEST_NAMESPACES"

// InNamespaces gives cmd a network, a file system and, where the caller is not root, users
// of its own, in which SilentDNS works. The start fails where that is not allowed.
func InNamespaces(cmd *exec.Cmd) {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET}
	if os.Getuid() != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
	cmd.Env = append(cmd.Environ(), silentDNSMark+"=1")
}

// SilentDNS makes this process ask a name server that takes every question and answers
// none. It is for a process started with InNamespaces, whose machine does not notice.
func SilentDNS() (close func(), err error) {
	if os.Getenv(silentDNSMark) == "" {
		return nil, errors.New("not in namespaces of its own")
	}
	if err := loopbackUp(); err != nil {
		return nil, fmt.Errorf("loopback: %w", err)
	}
	server, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		return nil, err
	}
	if err := useNameServer("127.0.0.1"); err != nil {
		_ = server.Close()
		return nil, err
	}
	return func() { _ = server.Close() }, nil
}

// loopbackUp brings up the loopback interface, which a new network namespace has down.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// useNameServer lays files over those that say how names are looked up.
func useNameServer(address string) error {
	// What is mounted here is to stay here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	for name, text := range map[string]string{
		"/etc/resolv.conf":   "nameserver " + address + "\noptions timeout:5 attempts:2\n",
		"/etc/nsswitch.conf": "hosts: files dns\n",
	} {
		if err := layOver(name, text); err != nil {
			return err
		}
	}
	return nil
}

func layOver(name, text string) error {
	if _, err := os.Stat(name); os.IsNotExist(err) {
		return nil // the resolver's defaults are the same
	}
	file, err := os.CreateTemp("", "over")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // the mount stays
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	if err := unix.Mount(file.Name(), name, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount over %s: %w", name, err)
	}
	return nil
}
