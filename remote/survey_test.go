package remote_test

import "github.com/dnadesign-maintainers/usr/remote"

// surveyed is a survey with its listing.
type surveyed struct {
	*remote.Survey
	Entries []remote.Entry
}

func surveyOf(s *remote.Session, root, id, key string) (v surveyed, err error) {
	v.Survey, err = s.Survey(background, root, id, key, func() { v.Entries = nil }, func(e remote.Entry) { v.Entries = append(v.Entries, e) })
	return v, err
}
