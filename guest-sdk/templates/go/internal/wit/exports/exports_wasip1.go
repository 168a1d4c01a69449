// Package exports has the functions that the generated bindings call when the host calls the component. Package
// portcullis puts them here.
package exports

import (
	"provider/internal/wit/portcullis_auth_password"
	"provider/internal/wit/portcullis_auth_redirect"
	"provider/internal/wit/portcullis_auth_refresh"
	auth "provider/internal/wit/portcullis_auth_types"
	wit "provider/internal/wit/types"
)

var (
	Check func() wit.Result[wit.Unit, string]

	SupportsToken func() bool
	VerifyToken   func(token string) wit.Result[wit.Option[auth.TokenPrincipal], auth.ProviderError]
	VerifySession func(accessToken string) wit.Result[wit.Option[auth.Session], auth.ProviderError]

	CompletePasswordLogin func(username, password string) wit.Result[auth.Session, portcullis_auth_password.PasswordError]

	StartLogin    func(portcullis_auth_redirect.LoginRequest) wit.Result[string, auth.ProviderError]
	CompleteLogin func(portcullis_auth_redirect.LoginResponse) wit.Result[auth.Session, portcullis_auth_redirect.CodeError]

	RefreshSession func(refreshToken string) wit.Result[auth.Session, portcullis_auth_refresh.RefreshError]
	RevokeSession  func(refreshToken string)
)
