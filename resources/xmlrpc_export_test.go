package resources

import "context"

// ReadXMLRPC is the gate, for the external tests.
func ReadXMLRPC(ctx context.Context, x XMLRPC, doc []byte, contentType string) (any, error) {
	return x.read(ctx, doc, contentType)
}

// FillXMLRPC stores the gate's value in reply.
func FillXMLRPC(reply, value any) error { return fillReply(reply, value) }

// EncodeXMLRPC is the request document of a call.
func EncodeXMLRPC(x XMLRPC, method string, args []any) ([]byte, error) {
	return x.encodeCall(method, args)
}

// XMLRPCDate reads a date's text as the gate does.
func XMLRPCDate(text string) any { return xmlrpcDate(text) }
