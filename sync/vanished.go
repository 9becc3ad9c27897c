package sync

import "context"

// Vanished reports whether a dataset that only one side has was once on both. Such a dataset is neither deleted on the
// other side nor treated as new.
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
