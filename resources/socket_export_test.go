package resources

// ForceFirst forces the first piece that is held, without asking it before.
func ForceFirst(h *Held) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pieces[0].Force()
}
