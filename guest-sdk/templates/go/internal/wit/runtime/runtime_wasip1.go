// Package runtime is what the generated bindings need at run time: memory, and handles of what the host owns.
package runtime

import (
	"runtime"
	"runtime/debug"
	"unsafe"
)

// An instance serves one call and is thrown away, so nothing is ever collected. Nor could it be: a collection asks for
// the time, and a component may ask nothing while the host hands it a value, which is when cabiRealloc runs.
func init() { debug.SetGCPercent(-1) }

// Allocate returns memory for any type of WIT: none is aligned to more than 8 bytes. There is no need to pin what is
// never collected.
func Allocate(_ *runtime.Pinner, size, _ uintptr) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
}

// Unpin is called when Go has got the arguments of a call.
func Unpin() {}

// The host asks for memory to put arguments and results into.
//
//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	if oldSize != 0 {
		panic("cabi_realloc: the host never asks for more")
	}
	return Allocate(nil, size, align)
}

// Handle is the host's number for something that it owns. 0 is none: it has been given back.
type Handle struct{ number int32 }

func MakeHandle(number int32) *Handle { return &Handle{number} }

// Use returns the number.
func (h *Handle) Use() int32 {
	if h.number == 0 {
		panic("used after it was given back")
	}
	return h.number
}

// Take returns the number of what is given back.
func (h *Handle) Take() int32 {
	number := h.Use()
	h.number = 0
	return number
}

// TakeOrNil does so too, but may be repeated.
func (h *Handle) TakeOrNil() int32 {
	number := h.number
	h.number = 0
	return number
}

func (h *Handle) Set(number int32) { h.number = number }
