// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"
)

// Verifier reads a stream and turns its end into an error unless exactly the
// declared bytes came: too few, too many, or a different sha256. The error
// wraps [ErrMismatch], comes before io.EOF and stays.
type Verifier struct {
	r    io.Reader
	desc Descriptor
	any  bool // the sha256 is not known yet
	hash hash.Hash
	n    int64
	err  error
}

// NewVerifier returns a Verifier of r against the size and digest of desc.
func NewVerifier(r io.Reader, desc Descriptor) *Verifier {
	return &Verifier{r: r, desc: desc, hash: sha256.New()}
}

// NewDigester returns a Verifier of r against its size alone, in bytes; the
// sha256 is what Digest says at the end.
func NewDigester(r io.Reader, size int64) *Verifier {
	return &Verifier{r: r, desc: Descriptor{Size: size}, any: true, hash: sha256.New()}
}

// Digest is the sha256 of what has been read: of the whole once Finish or Read
// has met the end.
func (v *Verifier) Digest() digest.Digest {
	return digest.NewDigestFromBytes(digest.SHA256, v.hash.Sum(nil))
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
		v.err = v.mismatch("more than the declared %d bytes", v.desc.Size)
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
		return v.mismatch("ends after %d of %d bytes", v.n, v.desc.Size)
	}
	if got := v.Digest(); !v.any && got != v.desc.Digest {
		return v.mismatch("got %s", got)
	}
	return io.EOF
}

// mismatch names the digest where there is one.
func (v *Verifier) mismatch(format string, args ...any) error {
	why := fmt.Sprintf(format, args...)
	if v.any {
		return fmt.Errorf("%s: %w", why, ErrMismatch)
	}
	return fmt.Errorf("%s: %s: %w", v.desc.Digest, why, ErrMismatch)
}

// Finish reads what is left and reports whether the whole stream was right. A
// decoder may stop before the end of its input; a blob counts only when its
// digest matches at its exact end.
func (v *Verifier) Finish() error {
	buf := make([]byte, min(max(v.desc.Size-v.n, 0)+1, finishBuffer))
	for {
		if _, err := v.Read(buf); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// finishBuffer is how many bytes Finish reads at once.
const finishBuffer = 256 << 10

// ReadVerified reads all of r and checks it. The caller bounds desc.Size;
// memory grows with what arrives, not with what is declared. The error wraps
// [ErrMismatch].
func ReadVerified(r io.Reader, desc Descriptor) ([]byte, error) {
	return io.ReadAll(NewVerifier(r, desc))
}
