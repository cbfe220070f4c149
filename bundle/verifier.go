// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Verifier reads a stream and turns its end into an error unless exactly the
// declared bytes came: too few, too many, or a different sha256. The error
// wraps [ErrMismatch], comes before io.EOF and stays.
type Verifier struct {
	r    io.Reader
	desc Descriptor
	hash hash.Hash
	n    int64
	err  error
}

// NewVerifier returns a Verifier of r against the size and digest of desc.
func NewVerifier(r io.Reader, desc Descriptor) *Verifier {
	return &Verifier{r: r, desc: desc, hash: sha256.New()}
}

// Read implements io.Reader.
func (v *Verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	if left := v.desc.Size - v.n; int64(len(p)) > left+1 {
		p = p[:left+1] // one more, to notice trailing bytes
	}
	n, err := v.r.Read(p)
	v.hash.Write(p[:n])
	v.n += int64(n)
	if v.n > v.desc.Size {
		v.err = fmt.Errorf("%s: more than the declared %d bytes: %w", v.desc.Digest, v.desc.Size, ErrMismatch)
		return 0, v.err
	}
	if errors.Is(err, io.EOF) {
		err = v.check()
	}
	if err != nil {
		v.err = err
	}
	return n, err
}

func (v *Verifier) check() error {
	if v.n < v.desc.Size {
		return fmt.Errorf("%s: ends after %d of %d bytes: %w", v.desc.Digest, v.n, v.desc.Size, ErrMismatch)
	}
	if got := hex.EncodeToString(v.hash.Sum(nil)); got != v.desc.Digest.Encoded() {
		return fmt.Errorf("%s: got sha256:%s: %w", v.desc.Digest, got, ErrMismatch)
	}
	return io.EOF
}

// Finish reads what is left and reports whether the whole stream was right. A
// decoder may stop before the end of its input; a blob counts only when its
// digest matches at its exact end.
func (v *Verifier) Finish() error {
	_, err := io.Copy(io.Discard, v)
	return err
}

// ReadVerified reads all of r and checks it. The caller bounds desc.Size;
// memory grows with what arrives, not with what is declared. The error wraps
// [ErrMismatch].
func ReadVerified(r io.Reader, desc Descriptor) ([]byte, error) {
	return io.ReadAll(NewVerifier(r, desc))
}
