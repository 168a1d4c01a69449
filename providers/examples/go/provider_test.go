package main

import (
	"errors"
	"reflect"
	"testing"

	"provider/portcullis"
	"provider/portcullis/portcullistest"
)

const (
	table     = "# token principal scopes\n\ngood-token-1 alice metrics.read\ngood-token-2 bob\n"
	directory = "http://directory.test/principals/"
)

func newHost() *portcullistest.Host {
	return &portcullistest.Host{
		Settings: map[string]string{"tokens": table, "lookup": directory},
		Answers:  map[string]portcullis.Response{directory + "alice": {Status: 200}, directory + "bob": {Status: 410}},
	}
}

func TestTokenOfTheTableIsKnown(t *testing.T) {
	got, err := verifyToken(newHost(), "good-token-1")
	want := &portcullis.TokenPrincipal{Principal: "alice", Scopes: []string{"metrics.read"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestNobodyIsAskedAboutUnknownTokens(t *testing.T) {
	host := newHost()
	for _, token := range []string{"", "good-token-", "good-token-11", "Good-token-1", "#", "alice"} {
		if got, err := verifyToken(host, token); !errors.Is(err, portcullis.ErrNotMine) {
			t.Errorf("%q: got %v, %v", token, got, err)
		}
	}
	if len(host.Sent) > 0 {
		t.Errorf("sent %v", host.Sent)
	}
}

func TestRevocationIsRemembered(t *testing.T) {
	host := newHost()
	for range 2 {
		if got, err := verifyToken(host, "good-token-2"); !errors.Is(err, portcullis.ErrNotMine) {
			t.Errorf("got %v, %v", got, err)
		}
		host.Answers = nil // from here on the directory is silent
	}
	if len(host.Sent) != 1 {
		t.Errorf("sent %v", host.Sent)
	}
}

func TestUnavailableSaysWhat(t *testing.T) {
	for want, change := range map[string]func(*portcullistest.Host){
		"the look-up: connection-refused": func(h *portcullistest.Host) { h.Answers = nil },
		"the look-up answered 500":        func(h *portcullistest.Host) { h.Answers[directory+"alice"] = portcullis.Response{Status: 500} },
		"the bucket: full":                func(h *portcullistest.Host) { h.BucketErr = errors.New("full") },
	} {
		host := newHost()
		change(host)
		if got, err := verifyToken(host, "good-token-1"); err == nil || err.Error() != want {
			t.Errorf("got %v, %v; want %q", got, err, want)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for tokens, want := range map[string]string{
		"":         "`tokens` is missing: one line a token, `TOKEN PRINCIPAL [SCOPE ...]`",
		"a b\n\nx": "`tokens`, line 3: it needs a token and a principal",
	} {
		err := checkSettings(&portcullistest.Host{Settings: map[string]string{"tokens": tokens}})
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %q", tokens, err, want)
		}
	}
	if err := checkSettings(newHost()); err != nil {
		t.Error(err)
	}
}
