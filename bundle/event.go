// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

// EventKind says what an [Event] reports.
type EventKind string

// The kinds of event. For one item the order is Started, any number of
// Progress and Retry, then Done; or Skipped alone.
const (
	EventStarted  EventKind = "started"  // bytes are about to move; Size is the total, 0 if unknown
	EventProgress EventKind = "progress" // Offset bytes have moved
	EventRetry    EventKind = "retry"    // Attempt begins because of Reason
	EventDone     EventKind = "done"     // all bytes moved and verified
	EventSkipped  EventKind = "skipped"  // nothing to do, because of Reason
	EventNote     EventKind = "note"     // Reason is a sentence for the user
)

// Event reports progress of one item. Libraries emit events and never print;
// internal/ui renders them.
type Event struct {
	Kind    EventKind `json:"kind"`
	What    string    `json:"what"`             // the item for a human: "layer wheel/torch", "probe import vllm_metal"
	Digest  string    `json:"digest,omitempty"` // sha256:…, when the item has one
	Offset  int64     `json:"offset,omitempty"` // bytes
	Size    int64     `json:"size,omitempty"`   // bytes
	Attempt int       `json:"attempt,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

// EventFunc receives events, from several goroutines at once. A nil EventFunc
// drops them; call Emit, not the function itself.
type EventFunc func(Event)

// Emit hands e to f unless f is nil.
func (f EventFunc) Emit(e Event) {
	if f != nil {
		f(e)
	}
}
