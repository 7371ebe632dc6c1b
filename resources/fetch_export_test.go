package resources

import (
	"net/http"
	"net/url"
)

// FollowFetch is what a Fetch of from asks next, with header, when it is answered with
// status and location: an empty URL when that is no redirect.
func FollowFetch(from *url.URL, header http.Header, status int, location string) (to string, sent http.Header, err error) {
	h := newHop(http.MethodGet, from, "", header, false)
	resp := &http.Response{StatusCode: status, Header: http.Header{"Location": {location}}}
	next, err := h.redirect(resp, &Fetch{})
	if next == nil {
		return "", nil, err
	}
	return next.url.String(), next.header, err
}
