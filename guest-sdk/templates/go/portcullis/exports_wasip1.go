package portcullis

import (
	"errors"

	"provider/internal/wit/exports"
	"provider/internal/wit/portcullis_auth_password"
	"provider/internal/wit/portcullis_auth_redirect"
	"provider/internal/wit/portcullis_auth_refresh"
	auth "provider/internal/wit/portcullis_auth_types"
	wit "provider/internal/wit/types"
	_ "provider/internal/wit/wit_exports" // called by the host, it calls what is put into exports
)

func init() {
	exports.Check = check
	exports.SupportsToken = func() bool { return exported.VerifyToken != nil }
	exports.VerifyToken = func(token string) wit.Result[wit.Option[auth.TokenPrincipal], auth.ProviderError] {
		return verify(exported.VerifyToken, token, func(p TokenPrincipal) auth.TokenPrincipal { return auth.TokenPrincipal(p) })
	}
	exports.VerifySession = func(accessToken string) wit.Result[wit.Option[auth.Session], auth.ProviderError] {
		return verify(exported.VerifySession, accessToken, lower)
	}
	exports.CompletePasswordLogin = completePasswordLogin
	exports.StartLogin = startLogin
	exports.CompleteLogin = completeLogin
	exports.RefreshSession = refreshSession
	exports.RevokeSession = func(refreshToken string) { exported.RevokeSession(component{}, refreshToken) }
}

func check() wit.Result[wit.Unit, string] {
	if err := exported.CheckSettings(component{}); err != nil {
		return wit.Err[wit.Unit](err.Error())
	}
	return wit.Ok[wit.Unit, string](wit.Unit{})
}

// verify is for what every component exports, whether its provider has such a function or not.
func verify[T, U any](function func(Host, string) (*T, error), token string, lower func(T) U) wit.Result[wit.Option[U], auth.ProviderError] {
	if function == nil {
		return wit.Ok[wit.Option[U], auth.ProviderError](wit.None[U]())
	}
	value, err := function(component{}, token)
	switch {
	case errors.Is(err, ErrNotMine):
		return wit.Ok[wit.Option[U], auth.ProviderError](wit.None[U]())
	case err != nil:
		return wit.Err[wit.Option[U]](auth.MakeProviderErrorUnavailable(err.Error()))
	}
	return wit.Ok[wit.Option[U], auth.ProviderError](wit.Some(lower(*value))) // a panic here: it returned nil, nil
}

func completePasswordLogin(username, password string) wit.Result[auth.Session, portcullis_auth_password.PasswordError] {
	session, err := exported.CheckPassword(component{}, username, password)
	switch {
	case errors.Is(err, ErrInvalidCredentials):
		return wit.Err[auth.Session](portcullis_auth_password.MakePasswordErrorInvalidCredentials())
	case err != nil:
		return wit.Err[auth.Session](portcullis_auth_password.MakePasswordErrorUnavailable(err.Error()))
	}
	return wit.Ok[auth.Session, portcullis_auth_password.PasswordError](lower(*session))
}

func startLogin(r portcullis_auth_redirect.LoginRequest) wit.Result[string, auth.ProviderError] {
	url, err := exported.StartLogin(component{}, LoginRequest{r.RedirectUri, r.State, r.Nonce, r.CodeChallenge})
	if err != nil {
		return wit.Err[string](auth.MakeProviderErrorUnavailable(err.Error()))
	}
	return wit.Ok[string, auth.ProviderError](url)
}

func completeLogin(r portcullis_auth_redirect.LoginResponse) wit.Result[auth.Session, portcullis_auth_redirect.CodeError] {
	session, err := exported.CompleteLogin(component{}, LoginResponse{r.RedirectUri, r.Code, r.Nonce, r.CodeVerifier, r.Issuer.Some()})
	var invalid InvalidCodeError
	switch {
	case errors.As(err, &invalid):
		return wit.Err[auth.Session](portcullis_auth_redirect.MakeCodeErrorInvalidCode(err.Error()))
	case err != nil:
		return wit.Err[auth.Session](portcullis_auth_redirect.MakeCodeErrorUnavailable(err.Error()))
	}
	return wit.Ok[auth.Session, portcullis_auth_redirect.CodeError](lower(*session))
}

func refreshSession(refreshToken string) wit.Result[auth.Session, portcullis_auth_refresh.RefreshError] {
	session, err := exported.RefreshSession(component{}, refreshToken)
	switch {
	case errors.Is(err, ErrExpired):
		return wit.Err[auth.Session](portcullis_auth_refresh.MakeRefreshErrorExpired())
	case err != nil:
		return wit.Err[auth.Session](portcullis_auth_refresh.MakeRefreshErrorUnavailable(err.Error()))
	}
	return wit.Ok[auth.Session, portcullis_auth_refresh.RefreshError](lower(*session))
}

func lower(s Session) auth.Session {
	return auth.Session{
		UserId:       s.UserID,
		Email:        s.Email,
		DisplayName:  s.DisplayName,
		OrgId:        s.OrgID,
		ExpiresAt:    uint64(max(0, s.ExpiresAt.Unix())),
		AccessToken:  s.AccessToken,
		RefreshToken: s.RefreshToken,
	}
}
