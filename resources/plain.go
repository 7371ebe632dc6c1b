package resources

// Plain undoes Of: it returns the kind whose result type was erased, for those who look
// into a Use, to send it to another process for instance. A Use that Of did not make is
// returned as it is.
func Plain(u Use) any {
	if e, ok := u.(interface{ plain() any }); ok {
		return e.plain()
	}
	return u
}

func (e erased[T]) plain() any { return e.Resource }
