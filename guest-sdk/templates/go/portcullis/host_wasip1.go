package portcullis

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	wit "provider/internal/wit/types"
	config "provider/internal/wit/wasi_config_store"
	handler "provider/internal/wit/wasi_http_outgoing_handler"
	http "provider/internal/wit/wasi_http_types"
	streams "provider/internal/wit/wasi_io_streams"
	keyvalue "provider/internal/wit/wasi_keyvalue_store"
)

// component is the host of a component.
type component struct{}

func (component) Setting(key string) string { return config.Get(key).Ok().Some() }

func (component) BucketGet(key string) ([]byte, error) {
	bucket := keyvalue.Open("")
	if bucket.IsErr() {
		return nil, bucketError(bucket.Err())
	}
	defer bucket.Ok().Drop()
	value := bucket.Ok().Get(key)
	if value.IsErr() {
		return nil, bucketError(value.Err())
	}
	return value.Ok().Some(), nil
}

func (component) BucketSet(key string, value []byte) error {
	bucket := keyvalue.Open("")
	if bucket.IsErr() {
		return bucketError(bucket.Err())
	}
	defer bucket.Ok().Drop()
	if done := bucket.Ok().Set(key, value); done.IsErr() {
		return bucketError(done.Err())
	}
	return nil
}

func bucketError(e keyvalue.Error) error {
	switch e.Tag() {
	case keyvalue.ErrorNoSuchStore:
		return errors.New("no such store")
	case keyvalue.ErrorAccessDenied:
		return errors.New("access denied")
	default:
		return errors.New(e.Other())
	}
}

// Send drops everything before what it came from, as the host demands.
func (component) Send(r Request) (*Response, error) {
	request, err := outgoing(r)
	if err != nil {
		return nil, err
	}
	var body *http.OutgoingBody
	if len(r.Body) > 0 {
		body = request.Body().Ok()
	}
	sent := handler.Handle(request, wit.None[*http.RequestOptions]())
	if sent.IsErr() {
		return nil, httpError(sent.Err())
	}
	future := sent.Ok()
	defer future.Drop()
	if body != nil {
		write(body, r.Body)
	}
	pollable := future.Subscribe()
	pollable.Block()
	pollable.Drop()
	answer := future.Get().Some().Ok()
	if answer.IsErr() {
		return nil, httpError(answer.Err())
	}
	defer answer.Ok().Drop()
	return read(answer.Ok())
}

func outgoing(r Request) (*http.OutgoingRequest, error) {
	header := http.MakeFields()
	if len(r.Body) > 0 {
		header.Append("content-length", []byte(strconv.Itoa(len(r.Body))))
	}
	for name, value := range r.Header {
		if header.Append(name, []byte(value)).IsErr() {
			return nil, errors.New("not a header to send: " + name)
		}
	}
	request := http.MakeOutgoingRequest(header)
	scheme, rest, _ := strings.Cut(r.URL, "://") // net/url would make the component a tenth larger
	authority, path, _ := strings.Cut(rest, "/")
	if r.Method != "" && request.SetMethod(http.MakeMethodOther(r.Method)).IsErr() ||
		request.SetScheme(wit.Some(schemeOf(scheme))).IsErr() ||
		request.SetAuthority(wit.Some(authority)).IsErr() ||
		request.SetPathWithQuery(wit.Some("/"+path)).IsErr() {
		return nil, errors.New("not a method or a URL to send")
	}
	return request, nil
}

func schemeOf(name string) http.Scheme {
	switch name {
	case "http":
		return http.MakeSchemeHttp()
	case "https":
		return http.MakeSchemeHttps()
	default:
		return http.MakeSchemeOther(name)
	}
}

// write stops where nobody listens: what has happened is in the answer.
func write(body *http.OutgoingBody, bytes []byte) {
	stream := body.Write().Ok()
	for chunk := range slices.Chunk(bytes, 4096) {
		if stream.BlockingWriteAndFlush(chunk).IsErr() {
			break
		}
	}
	stream.Drop()
	http.OutgoingBodyFinish(body, wit.None[*http.Fields]())
}

// read takes all of it: the host cuts off what is too long.
func read(response *http.IncomingResponse) (*Response, error) {
	body := response.Consume().Ok()
	defer body.Drop()
	stream := body.Stream().Ok()
	defer stream.Drop()
	result := &Response{Status: int(response.Status())}
	for {
		chunk := stream.BlockingRead(64 << 10)
		switch {
		case chunk.IsErr() && chunk.Err().Tag() == streams.StreamErrorClosed:
			return result, nil
		case chunk.IsErr():
			return nil, errors.New("the answer broke off")
		}
		result.Body = append(result.Body, chunk.Ok()...)
	}
}

// httpErrors are the cases of the error-code of wasi:http, in its order.
var httpErrors = strings.Fields(`DNS-timeout DNS-error destination-not-found destination-unavailable
	destination-IP-prohibited destination-IP-unroutable connection-refused connection-terminated connection-timeout
	connection-read-timeout connection-write-timeout connection-limit-reached TLS-protocol-error TLS-certificate-error
	TLS-alert-received HTTP-request-denied HTTP-request-length-required HTTP-request-body-size
	HTTP-request-method-invalid HTTP-request-URI-invalid HTTP-request-URI-too-long HTTP-request-header-section-size
	HTTP-request-header-size HTTP-request-trailer-section-size HTTP-request-trailer-size HTTP-response-incomplete
	HTTP-response-header-section-size HTTP-response-header-size HTTP-response-body-size
	HTTP-response-trailer-section-size HTTP-response-trailer-size HTTP-response-transfer-coding
	HTTP-response-content-coding HTTP-response-timeout HTTP-upgrade-failed HTTP-protocol-error loop-detected
	configuration-error internal-error`)

func httpError(code http.ErrorCode) error { return errors.New(httpErrors[code.Tag()]) }
