// Package portcullis is what a provider and its host, Portcullis, know of each other.
package portcullis

import (
	"crypto/subtle"
	"errors"
	"time"
)

// Host is what a provider may ask of its host. In a test it is a portcullistest.Host.
type Host interface {
	// Setting returns an entry of the provider's `config:` in portcullis.yaml, "" if there is none. What is not a string
	// arrives as JSON text.
	Setting(key string) string
	// BucketGet returns what an earlier call kept under a key, nil if there is nothing. The operator grants
	// `keyvalue: true`.
	BucketGet(key string) ([]byte, error)
	// BucketSet keeps a value for later calls.
	BucketSet(key string, value []byte) error
	// Send asks over HTTP. An answer of any status is no error; no answer is one. The operator grants the origin under
	// `http`.
	Send(Request) (*Response, error)
}

// Request is what to ask over HTTP.
type Request struct {
	Method string // "": GET
	URL    string
	Header map[string]string
	Body   []byte
}

// Response is what came back.
type Response struct {
	Status int
	Body   []byte
}

// Provider has the functions that Portcullis calls: all that wit/world.wit exports, but VerifyToken and VerifySession,
// where a nil function knows nobody. Every call runs in a fresh instance of the component: what is kept in memory is
// gone afterwards, and not collected before.
//
// An error that is not of this package means: the provider's own store is out of reach, so that it cannot say yes or no.
type Provider struct {
	// CheckSettings is called once, when the provider is loaded. Its error is one sentence for the operator, who finds
	// the provider refused.
	CheckSettings func(Host) error

	// VerifyToken says whose token this is, or ErrNotMine.
	VerifyToken func(host Host, token string) (*TokenPrincipal, error)
	// VerifySession says whose session has this access token, or ErrNotMine.
	VerifySession func(host Host, accessToken string) (*Session, error)

	// CheckPassword signs somebody in, or fails with ErrInvalidCredentials.
	CheckPassword func(host Host, username, password string) (*Session, error)

	// StartLogin returns the URL of the identity provider's page that the browser is sent to.
	StartLogin func(Host, LoginRequest) (string, error)
	// CompleteLogin redeems the code that the browser came back with, or fails with an InvalidCodeError.
	CompleteLogin func(Host, LoginResponse) (*Session, error)

	// RefreshSession makes a new session of an old one's refresh token, or fails with ErrExpired.
	RefreshSession func(host Host, refreshToken string) (*Session, error)
	// RevokeSession is told when somebody signs out.
	RevokeSession func(host Host, refreshToken string)
}

var (
	// ErrNotMine: the next provider is asked.
	ErrNotMine = errors.New("not mine")
	// ErrInvalidCredentials: no such person, or a wrong password. It does not say which.
	ErrInvalidCredentials = errors.New("invalid credentials")
	// ErrExpired: they have to sign in again.
	ErrExpired = errors.New("expired")
)

// InvalidCodeError is why a code is not accepted. It is logged, never shown.
type InvalidCodeError string

func (e InvalidCodeError) Error() string { return string(e) }

// TokenPrincipal is a program that has a token. Of the scopes the host leaves it those that the operator granted.
type TokenPrincipal struct {
	Principal string
	Scopes    []string
}

// Session is somebody who has signed in. "" is unknown.
type Session struct {
	UserID, Email, DisplayName, OrgID string
	ExpiresAt                         time.Time
	AccessToken                       string // sealed before it reaches the browser
	RefreshToken                      string // "": the session ends with its access token
}

// LoginRequest is what the URL of a login page has to carry. The host makes State and the verifier of CodeChallenge
// (RFC 7636, method S256), and checks them.
type LoginRequest struct {
	RedirectURI, State, Nonce, CodeChallenge string
}

// LoginResponse is what the browser came back with, and what redeeming its code takes.
type LoginResponse struct {
	RedirectURI, Code, Nonce, CodeVerifier string
	Issuer                                 string // the `iss` of RFC 9207, "" if there was none
}

var exported Provider

// Export makes p the provider that the host calls. Call it from an init function: a component has no main.
func Export(p Provider) { exported = p }

// SameSecret compares in constant time: a near miss takes as long as a wild guess.
func SameSecret(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
