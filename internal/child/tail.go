// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package child

import (
	"fmt"
	"sync"
)

// Tail is a writer that keeps the first and the last bytes of what is written
// to it: the beginning of an output holds its first traceback, the end says
// what happened last. It is safe for concurrent use.
type Tail struct {
	mu    sync.Mutex
	n     int
	head  []byte
	ring  []byte // the last n bytes after head, rotated
	at    int    // where the next byte of a full ring goes
	total int64
}

// NewTail returns a Tail that keeps n bytes of each end.
func NewTail(n int) *Tail { return &Tail{n: n} }

// Write implements io.Writer; it never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	written := len(p)
	t.total += int64(written)
	if room := t.n - len(t.head); room > 0 {
		k := min(room, len(p))
		t.head, p = append(t.head, p[:k]...), p[k:]
	}
	if len(p) > t.n {
		p = p[len(p)-t.n:]
	}
	if room := t.n - len(t.ring); room > 0 {
		k := min(room, len(p))
		t.ring, p = append(t.ring, p[:k]...), p[k:]
	}
	for len(p) > 0 {
		k := copy(t.ring[t.at:], p)
		t.at, p = (t.at+k)%t.n, p[k:]
	}
	return written, nil
}

// String returns what was kept; a line in the middle says how much was not.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := string(t.ring[t.at:]) + string(t.ring[:t.at])
	if left := t.total - int64(len(t.head)+len(t.ring)); left > 0 {
		return fmt.Sprintf("%s\n… %d bytes left out …\n%s", t.head, left, last)
	}
	return string(t.head) + last
}
