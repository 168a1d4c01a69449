// Package portcullistest has a host for tests.
package portcullistest

import (
	"errors"

	"provider/portcullis"
)

// Host is a host made of maps. The zero value has no settings, an empty bucket and no network.
type Host struct {
	Settings  map[string]string
	Bucket    map[string][]byte
	BucketErr error                          // if set, the bucket fails with it
	Answers   map[string]portcullis.Response // by URL; no other answers
	Sent      []portcullis.Request
}

func (h *Host) Setting(key string) string { return h.Settings[key] }

func (h *Host) BucketGet(key string) ([]byte, error) { return h.Bucket[key], h.BucketErr }

func (h *Host) BucketSet(key string, value []byte) error {
	if h.Bucket == nil {
		h.Bucket = map[string][]byte{}
	}
	h.Bucket[key] = value
	return h.BucketErr
}

func (h *Host) Send(request portcullis.Request) (*portcullis.Response, error) {
	h.Sent = append(h.Sent, request)
	if answer, ok := h.Answers[request.URL]; ok {
		return &answer, nil
	}
	return nil, errors.New("connection-refused")
}
