package resources

import (
	"crypto/tls"
	"crypto/x509"
)

// TLS says whom a connection trusts and who it says it is. It is plain data. A nil
// *TLS and the zero value are the system's authorities, no certificate of one's own
// and the name in the address. TLS 1.2 is the oldest version spoken.
type TLS struct {
	// RootCAs are the certificate authorities to trust, in PEM, in place of the
	// system's. Empty is the system's.
	RootCAs []byte

	// Certificate and Key are the client's own, in PEM: both or neither. The
	// certificate comes first, its chain after it.
	Certificate, Key []byte

	// ServerName is the name the peer's certificate is checked against, and the one
	// sent to it (SNI). Empty is the host in the address. It holds for every peer of
	// one request, a proxy and the target of a redirect among them.
	ServerName string

	// InsecureSkipVerify accepts any certificate: anybody between here and the peer
	// can read and change what is said. For tests.
	InsecureSkipVerify bool
}

// config makes what crypto/tls wants; each call makes a new one. Bad PEM is an
// *Invalid of the given kind. Nothing of a key gets into the error.
func (t *TLS) config(kind string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t == nil {
		return c, nil
	}
	c.ServerName, c.InsecureSkipVerify = t.ServerName, t.InsecureSkipVerify
	if len(t.RootCAs) > 0 {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(t.RootCAs) {
			return nil, &Invalid{kind, "TLS.RootCAs", "holds no certificate in PEM"}
		}
	}
	if len(t.Certificate) > 0 || len(t.Key) > 0 {
		pair, err := tls.X509KeyPair(t.Certificate, t.Key)
		if err != nil {
			return nil, &Invalid{kind, "TLS.Certificate", "is no certificate with its key, both in PEM"}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// tlsKey is a TLS that can be compared, for tables of shared connections.
type tlsKey struct {
	roots, certificate, key, name string
	insecure                      bool
}

func (t *TLS) comparable() tlsKey {
	if t == nil {
		return tlsKey{}
	}
	return tlsKey{string(t.RootCAs), string(t.Certificate), string(t.Key), t.ServerName, t.InsecureSkipVerify}
}
