package verify

// Patterns are patterns of paths, as NewClassifier takes them.
type Patterns struct{ of patterns }

// NewPatterns compiles patterns. Errors are *PatternError.
func NewPatterns(patterns []string) (*Patterns, error) {
	p := &Patterns{}
	for _, pattern := range patterns {
		if why := p.of.add(pattern); why != "" {
			return nil, &PatternError{Pattern: pattern, Why: why}
		}
	}
	return p, nil
}

// Match reports whether a pattern matches a path or a directory above it. No patterns match nothing.
func (p *Patterns) Match(path string) bool { return p != nil && p.of.match(path) }
