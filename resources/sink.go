package resources

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Sink is a file that a result is written to as it comes: under a temporary name in
// the same directory, renamed when it is complete and on the disk, removed on any other
// end. So Path is at any time what it was before, or complete. A symbolic link is
// followed; one that leads nowhere, and what exists and is no regular file, is refused. But
// for a character device, such as /dev/null: it is written to as it is.
type Sink struct {
	Path string

	// Mode is that of the file, before the process's umask; 0 is that of the file that is
	// replaced, as it is, or else 0666.
	Mode fs.FileMode
}

// sinkFile is a Sink being written.
type sinkFile struct {
	*os.File
	path  string // in the end; empty for a device, which stays what it is
	held  *Held
	piece *Piece
}

// check finds bad fields. A nil Sink is none.
func (s *Sink) check() error {
	switch {
	case s == nil:
		return nil
	case s.Path == "":
		return &Invalid{fetchKind, "Sink.Path", "is empty"}
	case strings.HasSuffix(s.Path, string(filepath.Separator)):
		return &Invalid{fetchKind, "Sink.Path", "is a directory"}
	case s.Mode&^fs.ModePerm != 0:
		return &Invalid{fetchKind, "Sink.Mode", "has more than permission bits"}
	}
	return nil
}

// open makes the temporary file, which held removes unless commit comes first. A nil
// Sink gives a nil file.
func (s *Sink) open(held *Held) (*sinkFile, error) {
	if s == nil {
		return nil, nil
	}
	path, replaced, err := s.resolve()
	if err != nil {
		return nil, err
	}
	if path == "" {
		return s.openDevice(held)
	}
	mode, passedOn := cmp.Or(s.Mode, 0o666), s.Mode == 0 && replaced != nil
	if passedOn {
		mode = replaced.Mode().Perm()
	}
	dir, base := filepath.Split(path)
	name := filepath.Join(dir, "."+base+"."+rand.Text()[:10]+".part")
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	f := &sinkFile{File: file, path: path, held: held}
	f.piece = &Piece{What: "temporary file " + filepath.Base(name), By: "remove", Close: f.discard}
	if err := held.Keep(f.piece); err != nil {
		return nil, err
	}
	if passedOn {
		_ = file.Chmod(mode) // what the umask took away; where there are no modes it does not matter
	}
	return f, nil
}

// openDevice opens the device at Path.
func (s *Sink) openDevice(held *Held) (*sinkFile, error) {
	file, err := os.OpenFile(s.Path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	f := &sinkFile{File: file, held: held}
	f.piece = &Piece{What: "device " + filepath.Base(s.Path), Close: f.Close}
	return f, held.Keep(f.piece)
}

// resolve returns the path to rename to: behind symbolic links, so that a link is not
// replaced by what it should lead to. replaced is what is there, nil when nothing is. The
// path is empty for a device.
func (s *Sink) resolve() (path string, replaced fs.FileInfo, err error) {
	replaced, err = os.Stat(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(s.Path); err == nil {
			return "", nil, fmt.Errorf("sink %s: is a symbolic link that leads nowhere", s.Path)
		}
		return s.Path, nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	if replaced.Mode()&fs.ModeCharDevice != 0 {
		return "", replaced, nil
	}
	if !replaced.Mode().IsRegular() {
		return "", nil, fmt.Errorf("sink %s: exists and is not a regular file", s.Path)
	}
	path, err = filepath.EvalSymlinks(s.Path)
	return path, replaced, err
}

// commit makes the file what it is to be. When held has begun to release it, it is too
// late, and ErrSealed.
func (f *sinkFile) commit() error {
	if f.path == "" {
		f.held.Drop(f.piece)
		return f.Close()
	}
	// Without it a crash of the machine may leave the new name with half its bytes.
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if !f.held.Drop(f.piece) {
		return ErrSealed
	}
	if err := os.Rename(f.Name(), f.path); err != nil {
		return errors.Join(err, f.discard())
	}
	return nil
}

// discard closes and removes the file.
func (f *sinkFile) discard() error {
	_ = f.Close()
	if err := os.Remove(f.Name()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
