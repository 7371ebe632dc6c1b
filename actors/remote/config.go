package remote

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"path"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// Defaults for the zero values of Config's fields.
const (
	DefaultGrace           = timeoutpolicy.DefaultGrace + timeoutpolicy.DefaultForce
	DefaultRequestsMax     = 256
	DefaultConnectionsMax  = 256
	DefaultMessageMaxBytes = 4 << 20
)

// messageMinBytes leaves room for the limits that are made of MessageMaxBytes.
const messageMinBytes = 64 << 10

// Config says how a Node is to work. Listen and TLS are required.
type Config struct {
	// Listen is the address to listen on, HOST:PORT; port 0 is any free one. A peer
	// that asks has to be reachable, too: answers come on a connection of their own.
	Listen string

	// Advertise is the address under which peers reach this node, HOST:PORT. Empty is
	// the one it listens on, which then has to have a host.
	Advertise string

	// TLS holds this node's Certificate and Key, good for servers and for clients, and
	// the RootCAs that have to have signed every peer's: all three are required, and
	// the system's authorities count for nothing. The other fields have to be empty.
	TLS resources.TLS

	// Peers are patterns (path.Match) of addresses, HOST:PORT, that answers may be sent
	// to though the request came from another host. Empty is none.
	Peers []string

	// System is the actor system to live in. Nothing else may run in it yet, for its
	// address changes; it is not shut down by Close. nil: the node makes its own.
	System *actor.ActorSystem

	// Logger is where a system of the node's own logs. nil: nowhere.
	Logger *slog.Logger

	// Grace is how long after a request's deadline its answer is waited for, which is
	// the time of the clean-up over there. 0 is 3 s, what a policy grants by default;
	// negative is none.
	Grace time.Duration

	RequestsMax     int // under way for, and from, each peer; 0 is 256
	ConnectionsMax  int // accepted at once; 0 is 256
	MessageMaxBytes int // of one request or answer, 64 KiB at least; 0 is 4 MiB
}

func (c Config) withDefaults() Config {
	c.Grace = cmp.Or(c.Grace, DefaultGrace)
	c.RequestsMax = cmp.Or(c.RequestsMax, DefaultRequestsMax)
	c.ConnectionsMax = cmp.Or(c.ConnectionsMax, DefaultConnectionsMax)
	c.MessageMaxBytes = cmp.Or(c.MessageMaxBytes, DefaultMessageMaxBytes)
	return c
}

func (c Config) check() error {
	host, _, err := splitAddress(c.Listen)
	switch {
	case err != nil:
		return invalid("Listen", err.Error())
	case c.Advertise == "" && unspecified(host):
		return invalid("Advertise", "is empty, and Listen names no host that peers could dial")
	case c.RequestsMax < 0 || c.ConnectionsMax < 0:
		return invalid("RequestsMax, ConnectionsMax", "are negative")
	case c.MessageMaxBytes < messageMinBytes:
		return invalid("MessageMaxBytes", "is less than 64 KiB")
	case c.TLS.ServerName != "" || c.TLS.InsecureSkipVerify:
		return invalid("TLS", "says not to check the peer")
	}
	if c.Advertise != "" {
		if _, _, err := splitAddress(c.Advertise); err != nil {
			return invalid("Advertise", err.Error())
		}
	}
	for _, p := range c.Peers {
		if _, err := path.Match(p, ""); err != nil {
			return invalid("Peers", "holds a malformed pattern")
		}
	}
	return nil
}

func invalid(field, why string) error {
	return &resources.Invalid{Kind: "remote", Field: field, Why: why}
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// splitAddress takes HOST:PORT apart, and nothing else: gRPC has addresses with schemes.
func splitAddress(address string) (string, int, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("is not HOST:PORT")
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("has no port that is a number")
	}
	for _, r := range host {
		if r <= ' ' || r == '/' || r == '\\' || r == '@' || r == '?' || r == '#' {
			return "", 0, fmt.Errorf("is not HOST:PORT")
		}
	}
	return host, int(port), nil
}

// tlsConfigs are those of the listening and of the dialling side.
func (c Config) tlsConfigs() (server, client *tls.Config, err error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.TLS.RootCAs) {
		return nil, nil, invalid("TLS.RootCAs", "holds no certificate in PEM")
	}
	pair, err := tls.X509KeyPair(c.TLS.Certificate, c.TLS.Key)
	if err != nil {
		return nil, nil, invalid("TLS.Certificate", "is no certificate with its key, both in PEM")
	}
	// Both sides are ours: nothing older is needed.
	common := tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}}
	server, client = common.Clone(), common.Clone()
	server.ClientCAs, server.ClientAuth = roots, tls.RequireAndVerifyClientCert
	client.RootCAs = roots
	return server, client, nil
}
