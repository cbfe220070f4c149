// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// followEvery is how often it is looked how far a file has been sent.
const followEvery = 200 * time.Millisecond

// pushFile makes one upload of a file whose digest is known, and tells whether
// another may do better. Without TLS the kernel sends it from its page cache: no
// byte is copied here, and the registry alone hashes them. It closes the file.
func (s *sending) pushFile(ctx context.Context, desc bundle.Descriptor, f *os.File, moved func(offset int64)) (again bool, err error) {
	defer func() { _ = f.Close() }() // it was only read, and net/http has closed it, if it came so far
	ctx, dog := httpstream.Watch(ctx, pushStallTimeout)
	defer dog.Stop()
	if err = s.start(ctx); err == nil {
		_, err = f.Seek(s.kept, io.SeekStart)
	}
	if err == nil {
		dog.GuardFor(s.wait(desc.Size - s.kept))
		stop := follow(f, s.kept, desc.Size, func(offset int64) {
			dog.GuardFor(s.wait(desc.Size - offset))
			moved(offset)
		})
		err = s.put(ctx, desc.Digest, f)
		stop()
	}
	err = dog.Explain(err)
	return err != nil && s.again(err), err
}

// hasSize reports whether a file is as long as it should be. Of a longer one only
// the beginning would be sent.
func hasSize(f *os.File, size int64) bool {
	info, err := f.Stat()
	return err == nil && info.Size() == size
}

// follow looks now and then how far a file of that size has been read since last,
// until stop is called. net/http closes what it has read to the end.
func follow(f *os.File, last, size int64, moved func(offset int64)) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(followEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			offset, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				offset = size
			}
			if offset > last {
				last = offset
				moved(offset)
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
