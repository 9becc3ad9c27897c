package shell

// At has a session that is between two requests look after another root.
func (s *Session) At(root string) *Session {
	s.root = root
	return s
}
