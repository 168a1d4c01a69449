// An auth provider for Portcullis: it knows the tokens of a table in its settings, may ask a directory about their
// principals, and remembers whom the directory has let go.
package main

import (
	"errors"
	"fmt"
	"strings"

	"provider/portcullis"
)

func init() {
	portcullis.Export(portcullis.Provider{
		CheckSettings: checkSettings,
		VerifyToken:   verifyToken,
	})
}

func main() {} // Go wants one. It never runs.

// checkSettings is called once, when the provider is loaded: one sentence for the operator, if something must be mended.
func checkSettings(host portcullis.Host) error {
	_, err := readTable(host)
	return err
}

// verifyToken says whose token this is.
func verifyToken(host portcullis.Host, token string) (*portcullis.TokenPrincipal, error) {
	table, err := readTable(host)
	if err != nil {
		return nil, err
	}
	var owner *portcullis.TokenPrincipal
	for _, line := range table { // every line: the time tells nothing of which one it is
		if portcullis.SameSecret(line.token, token) {
			owner = &line.owner
		}
	}
	if owner == nil {
		return nil, portcullis.ErrNotMine
	}

	revoked := "revoked:" + owner.Principal
	switch value, err := host.BucketGet(revoked); {
	case err != nil:
		return nil, fmt.Errorf("the bucket: %w", err)
	case value != nil:
		return nil, portcullis.ErrNotMine
	}

	known, err := lookUp(host, owner.Principal)
	if err != nil {
		return nil, err
	}
	if !known {
		if err := host.BucketSet(revoked, []byte("1")); err != nil {
			return nil, fmt.Errorf("the bucket: %w", err)
		}
		return nil, portcullis.ErrNotMine
	}
	return owner, nil
}

// lookUp asks the directory, if there is one, whether it still knows a principal.
func lookUp(host portcullis.Host, principal string) (known bool, err error) {
	directory := host.Setting("lookup")
	if directory == "" {
		return true, nil
	}
	answer, err := host.Send(portcullis.Request{URL: directory + principal})
	if err != nil {
		return false, fmt.Errorf("the look-up: %w", err)
	}
	switch answer.Status {
	case 200:
		return true, nil
	case 410:
		return false, nil
	default:
		return false, fmt.Errorf("the look-up answered %d", answer.Status)
	}
}

type line struct {
	token string
	owner portcullis.TokenPrincipal
}

// readTable reads the setting `tokens`. No error quotes a line of it: they hold secrets.
func readTable(host portcullis.Host) ([]line, error) {
	text := host.Setting("tokens")
	if text == "" {
		return nil, errors.New("`tokens` is missing: one line a token, `TOKEN PRINCIPAL [SCOPE ...]`")
	}
	var table []line
	for i, text := range strings.Split(text, "\n") {
		fields := strings.Fields(text)
		switch {
		case len(fields) == 0 || strings.HasPrefix(text, "#"):
			continue
		case len(fields) == 1:
			return nil, fmt.Errorf("`tokens`, line %d: it needs a token and a principal", i+1)
		}
		table = append(table, line{fields[0], portcullis.TokenPrincipal{Principal: fields[1], Scopes: fields[2:]}})
	}
	return table, nil
}
