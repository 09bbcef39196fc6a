package data

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/internal/spec"
	"golang.org/x/sync/errgroup"
)

// openPNG reads the .png files of a folder in the order of their names, and
// none of the folders in it; if it holds folders alone, those of each of them,
// with the folder as their class, in alphabetical order. Items are [1, H, W] if all images are grey and
// [3, H, W] otherwise, brightness 0 to 1 (key scale, as for IDX). All images
// have one size, and none is transparent.
func openPNG(folder string, s *spec.Spec, _ Options) (Dataset, error) {
	scale := scaleKey(s)
	if err := s.Done(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	paths, labels, err := pngClasses(folder)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	channels, size, err := survey(paths)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	item := channels * size.X * size.Y
	x := make([]float32, len(paths)*item)
	var work errgroup.Group
	work.SetLimit(8)
	for i, path := range paths {
		work.Go(func() error { return readPNG(path, x[i*item:(i+1)*item], channels, scale) })
	}
	if err := work.Wait(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	ds, err := inMemory(folder, []int{channels, size.Y, size.X}, x)
	if err != nil || labels == nil {
		return ds, err
	}
	return withLabels(ds, labels, folder)
}

// pngClasses are the images of a folder, or those of the folders in it with their classes.
func pngClasses(folder string) (paths []string, labels []float32, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, nil, err
	}
	if !slices.ContainsFunc(entries, os.DirEntry.IsDir) || slices.ContainsFunc(entries, isPNG) {
		paths, err := pngFiles(folder)
		return paths, nil, err
	}
	class := 0
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		more, err := pngFiles(filepath.Join(folder, e.Name()))
		if err != nil {
			return nil, nil, err
		}
		for _, p := range more {
			paths, labels = append(paths, p), append(labels, float32(class))
		}
		class++
	}
	return paths, labels, nil
}

func isPNG(e os.DirEntry) bool {
	return !e.IsDir() && strings.EqualFold(filepath.Ext(e.Name()), ".png")
}

func pngFiles(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if isPNG(e) {
			paths = append(paths, filepath.Join(folder, e.Name()))
		}
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("the folder %s holds no .png files", folder)
	}
	return paths, nil
}

// maxPixels bounds what the first bytes of an image can ask for.
const maxPixels = 1 << 26

// survey reads the headers: the number of channels and the size of all.
func survey(paths []string) (channels int, size image.Point, err error) {
	channels = 1
	for i, path := range paths {
		config, err := pngConfig(path)
		if err != nil {
			return 0, size, fmt.Errorf("%s: %w", path, err)
		}
		if config.ColorModel != color.GrayModel && config.ColorModel != color.Gray16Model {
			channels = 3
		}
		here := image.Pt(config.Width, config.Height)
		if i == 0 {
			size = here
		}
		switch {
		case here != size:
			return 0, size, fmt.Errorf("%s is %d×%d and %s is %d×%d; all images need one size", path, here.X, here.Y, paths[0], size.X, size.Y)
		case here.X > maxPixels/here.Y:
			return 0, size, fmt.Errorf("%s is %d×%d; that is too large", path, here.X, here.Y)
		}
	}
	return channels, size, nil
}

func pngConfig(path string) (image.Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return image.Config{}, err
	}
	defer f.Close()
	return png.DecodeConfig(f)
}

// readPNG writes one image to dst [channels, H, W].
func readPNG(path string, dst []float32, channels int, scale string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err == nil && img.Bounds().Dx()*img.Bounds().Dy()*channels != len(dst) {
		err = errors.New("it changed while it was read")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	to := scales[scale]
	bounds := img.Bounds()
	plane := bounds.Dx() * bounds.Dy()
	at := 0
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			r, g, b, alpha := img.At(x, y).RGBA()
			if alpha != 0xffff {
				return fmt.Errorf("%s is transparent; flatten it first", path)
			}
			colors := [3]uint32{r, g, b}
			for c := range channels {
				dst[c*plane+at] = to.value(float64(colors[c]) / 0xffff)
			}
			at++
		}
	}
	return nil
}
