package install

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxFile bounds what is written of one member: a CUDA provider has 250 MB.
const maxFile = 4 << 30

// extract writes the members of a wheel (.whl, a zip) or of an npm package
// (.tgz) into dir, under their base names, and returns their SHA-256 sums.
func extract(archive, dir string, files []file) (sums []string, err error) {
	sums = make([]string, len(files))
	each := func(name string, open func() (io.ReadCloser, error)) error {
		for i, f := range files {
			if sums[i] != "" || !strings.HasSuffix("/"+name, "/"+f.member) {
				continue
			}
			r, err := open()
			if err != nil {
				return err
			}
			sums[i], err = write(filepath.Join(dir, filepath.Base(f.member)), r)
			return errors.Join(err, r.Close())
		}
		return nil
	}
	if strings.HasSuffix(archive, ".whl") {
		err = eachZip(archive, each)
	} else {
		err = eachTar(archive, each)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(archive), err)
	}
	for i, f := range files {
		if sums[i] == "" {
			return nil, fmt.Errorf("%s has no %s", filepath.Base(archive), f.member)
		}
	}
	return sums, nil
}

func eachZip(archive string, fn func(string, func() (io.ReadCloser, error)) error) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		if err := fn(f.Name, f.Open); err != nil {
			return err
		}
	}
	return nil
}

func eachTar(archive string, fn func(string, func() (io.ReadCloser, error)) error) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	t := tar.NewReader(z)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := fn(h.Name, func() (io.ReadCloser, error) { return io.NopCloser(t), nil }); err != nil {
			return err
		}
	}
}

// write makes a file that is on disk when it returns, and gives its SHA-256.
func write(path string, r io.Reader) (sum string, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(r, maxFile+1))
	if err == nil && n > maxFile {
		err = errors.New("a member is too large")
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
