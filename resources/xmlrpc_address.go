package resources

import (
	"cmp"
	"encoding/base64"
	"net/url"
	"strings"
)

// xmlrpcAddress is where the calls go.
type xmlrpcAddress struct {
	url    string // http or https, without userinfo
	socket string // of a unix socket
	auth   string // value of the Authorization header
}

func (x XMLRPC) address() (xmlrpcAddress, error) {
	raw, socket, why := cutSocket(x.URL)
	u, err := url.Parse(raw)
	switch {
	case why != "":
	case err != nil:
		why = "malformed" // the parser's own words hold the URL
	case u.Scheme != "http" && u.Scheme != "https":
		why = "its scheme is none of http, https, unix and http+unix"
	case u.Host == "":
		why = "no host"
	}
	if why != "" {
		return xmlrpcAddress{}, &Invalid{Kind: "xmlrpc", Field: "URL", Why: why}
	}
	user, password := u.User.Username(), ""
	if p, ok := u.User.Password(); ok {
		password = p
	}
	if x.User != "" || x.Password != "" {
		user, password = x.User, x.Password
	}
	if strings.Contains(user, ":") {
		return xmlrpcAddress{}, &Invalid{Kind: "xmlrpc", Field: "User", Why: "holds a colon, which ends the name in basic authentication"}
	}
	to := xmlrpcAddress{socket: socket}
	if user != "" || password != "" {
		to.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	u.User = nil
	if u.Path == "" {
		u.Path = cmp.Or(x.Path, "/RPC2")
	}
	u.Fragment, u.RawFragment = "", ""
	to.url = u.String()
	return to, nil
}

// cutSocket turns the address of a unix socket into one of http on a host that stands
// in for it, and the socket's path. Other addresses come back as they are.
func cutSocket(raw string) (rest, socket, why string) {
	scheme, after, _ := strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	if scheme != "unix" && scheme != "http+unix" {
		return raw, "", ""
	}
	authority, path := after, ""
	if i := strings.IndexByte(after, '/'); i >= 0 {
		authority, path = after[:i], after[i:]
	}
	userinfo := ""
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		userinfo, authority = authority[:i+1], authority[i+1:]
	}
	socket, err := url.PathUnescape(cmp.Or(authority, path))
	if authority == "" {
		path = ""
	}
	if err != nil || !strings.HasPrefix(socket, "/") || len(socket) < 2 {
		return "", "", "no absolute path of a unix socket"
	}
	return "http://" + userinfo + "localhost" + path, socket, ""
}
