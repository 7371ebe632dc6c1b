package resources

import (
	"context"
	"fmt"
	"reflect"
)

// CleanupMethod returns the exported method of that name of receiver, to be used as a
// clean-up hook:
//
//	stop, err := resources.CleanupMethod(srv, "Shutdown")
//	use := resources.Func(work).CleanupContext(stop)
//
// The method is func(), func() error, func(context.Context) or func(context.Context)
// error. The name is looked up here and now: a wrong name, a wrong shape, or no object
// to look at is an *Invalid, so that a slip shows when the request is made and not when
// its clean-up is needed.
//
// It finds the method by reflection on a name that the linker does not know, so a
// program that calls it keeps all exported methods of the types it uses.
func CleanupMethod(receiver any, name string) (func(context.Context) error, error) {
	v := reflect.ValueOf(receiver)
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, noCleanup("there is no object whose method %q could be; when it names no method, a clean-up must be a function", name)
	}
	m := v.MethodByName(name)
	if !m.IsValid() {
		return nil, noCleanup("%T has no exported method %q; when it names no method, a clean-up must be a function", receiver, name)
	}
	switch f := m.Interface().(type) {
	case func(context.Context) error:
		return f, nil
	case func() error:
		return func(context.Context) error { return f() }, nil
	case func(context.Context):
		return func(ctx context.Context) error { f(ctx); return nil }, nil
	case func():
		return func(context.Context) error { f(); return nil }, nil
	}
	return nil, noCleanup("method %q of %T is a %s; a clean-up takes nothing or a context, and returns nothing or an error", name, receiver, m.Type())
}

func noCleanup(format string, args ...any) *Invalid {
	return &Invalid{Kind: kindFunc, Field: "CleanupMethod", Why: fmt.Sprintf(format, args...)}
}

// CleanupByName returns use with a further clean-up hook: the method of that name of
// the object that use was given with Function.On. It is for requests by message, which
// can carry a name but no function. The error is *Invalid: use is no Function, has no
// object, or the object no such method (see CleanupMethod).
func CleanupByName(use Use, name string) (Use, error) {
	if n, ok := use.(cleanupNamer); ok {
		return n.CleanupByName(name)
	}
	return nil, notNamed(name)
}

func notNamed(name string) *Invalid {
	return noCleanup("only a function can have method %q as its clean-up", name)
}

// cleanupNamer is a Function, or what erased its type.
type cleanupNamer interface {
	CleanupByName(name string) (Use, error)
}

// CleanupByName passes the name on to the resource whose type was erased.
func (e erased[T]) CleanupByName(name string) (Use, error) {
	if n, ok := e.Resource.(cleanupNamer); ok {
		return n.CleanupByName(name)
	}
	return nil, notNamed(name)
}
