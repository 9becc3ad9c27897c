package sync

import "context"

// Vanished reports whether a dataset that one side alone has was on both once: what is gone is neither a deletion to be
// carried over nor something new.
func (p *Pair) Vanished(ctx context.Context, id string) (bool, error) {
	at := p.place
	if at == nil {
		sv, err := p.remote.Survey(ctx, id, stateKey(id), "")
		if err != nil {
			return false, err
		}
		at = &sv.Place
	}
	b, err := readHead(p.store.basePath(id, placeName(*at)))
	return err == nil && b.Place.Is(*at), nil // one that cannot be read is none
}
