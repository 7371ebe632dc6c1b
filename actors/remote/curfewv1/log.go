package curfewv1

import "log/slog"

// Messages hold secrets (URLs, arguments, bodies), and remote logs what it cannot send or
// deliver: these methods keep the contents out of logs.

// LogValue implements slog.LogValuer.
func (*Request) LogValue() slog.Value { return slog.StringValue("curfew.v1.Request") }

// LogValue implements slog.LogValuer.
func (*Response) LogValue() slog.Value { return slog.StringValue("curfew.v1.Response") }

// IgnoreDeadLetterLogging marks requests that came after the gateway had stopped: no news.
func (*Request) IgnoreDeadLetterLogging() {}

// IgnoreDeadLetterLogging marks answers that nobody waits for any more: no news.
func (*Response) IgnoreDeadLetterLogging() {}

// IgnoreDeadLetterLogging marks cancels of what has stopped already: no news.
func (*Cancel) IgnoreDeadLetterLogging() {}
