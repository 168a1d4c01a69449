// Package types has those types of WIT that Go has none of its own for.
package types

// Tags of an Option and of a Result.
const (
	OptionNone = 0
	OptionSome = 1
	ResultOk   = 0
	ResultErr  = 1
)

// Unit is what a function without a result returns.
type Unit struct{}

// Option is a value, or none.
type Option[T any] struct {
	tag   uint8
	value T
}

func None[T any]() Option[T]        { return Option[T]{} }
func Some[T any](value T) Option[T] { return Option[T]{OptionSome, value} }

func (o Option[T]) Tag() uint8 { return o.tag }

// Some returns the value, or the zero value if there is none.
func (o Option[T]) Some() T { return o.value }

// Result is a value, or an error.
type Result[T, E any] struct {
	tag   uint8
	value T
	err   E
}

func Ok[T, E any](value T) Result[T, E] { return Result[T, E]{value: value} }
func Err[T, E any](err E) Result[T, E]  { return Result[T, E]{tag: ResultErr, err: err} }

func (r Result[T, E]) Tag() uint8  { return r.tag }
func (r Result[T, E]) IsErr() bool { return r.tag == ResultErr }

// Ok returns the value, or the zero value if there is an error.
func (r Result[T, E]) Ok() T { return r.value }

// Err returns the error, or the zero value if there is none.
func (r Result[T, E]) Err() E { return r.err }
