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
func (r *Repository) pushFile(ctx context.Context, desc bundle.Descriptor, f *os.File, moved func(offset int64)) (again bool, err error) {
	ctx, dog := httpstream.Watch(ctx, pushStallTimeout)
	defer dog.Stop()
	stop := follow(f, func(offset int64) {
		dog.Guard()
		moved(offset)
	})
	err = dog.Explain(r.blobs.Blobs().Push(ctx, desc, f))
	stop()
	_ = f.Close() // it was only read, and net/http has closed it, if it came so far
	return passing(err), err
}

// hasSize reports whether a file is as long as it should be. Of a longer one only
// the beginning would be sent.
func hasSize(f *os.File, size int64) bool {
	info, err := f.Stat()
	return err == nil && info.Size() == size
}

// follow looks now and then how far a file has been read, until stop is called.
func follow(f *os.File, moved func(offset int64)) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(followEvery)
		defer tick.Stop()
		for last := int64(0); ; {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if offset, err := f.Seek(0, io.SeekCurrent); err == nil && offset > last {
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
