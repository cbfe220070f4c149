// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import "sync/atomic"

// Caps on all wheels of one environment together. Those of vllm-metal have 74,000
// entries and 9 MB; those of vllm with CUDA about 130,000 and 16 MB, of which two
// thirds were counted.
const (
	MaxAllEntries = 300_000  // of central directories and of RECORDs
	MaxAllBytes   = 48 << 20 // of these, of other metadata that is read, and of files that are made
)

// Budget is what wheels that are open at the same time may hold in memory
// together. Each is far below the caps of one wheel, a hundred need not be. It
// can be used by several goroutines.
type Budget struct {
	entries, bytes       atomic.Int64 // spent
	maxEntries, maxBytes int64
}

// NewBudget returns a budget. 0 stands for [MaxAllEntries] or [MaxAllBytes].
func NewBudget(entries, bytes int64) *Budget {
	b := &Budget{maxEntries: entries, maxBytes: bytes}
	if entries == 0 {
		b.maxEntries = MaxAllEntries
	}
	if bytes == 0 {
		b.maxBytes = MaxAllBytes
	}
	return b
}

// spend takes what a wheel is about to hold. The error wraps ErrInvalid.
func (b *Budget) spend(entries, bytes int64) error {
	if b.entries.Add(entries) > b.maxEntries {
		return invalid("with its %d entries the wheels of this environment have more than %d", entries, b.maxEntries)
	}
	if b.bytes.Add(bytes) > b.maxBytes {
		return invalid("with %d bytes of it the metadata of all wheels of this environment has more than %d", bytes, b.maxBytes)
	}
	return nil
}
