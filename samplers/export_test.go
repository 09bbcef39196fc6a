package samplers

import "context"

// Stepper starts a kernel as Run does and returns a function that does one
// iteration, and one that ends it.
func Stepper(t Target, k Kernel, cfg Config) (next func() error, stop func(), err error) {
	s, err := cfg.start(t.Dim())
	if err != nil {
		return nil, nil, err
	}
	ctx := context.Background()
	if err := k.Start(ctx, t, s); err != nil {
		return nil, nil, err
	}
	key := cfg.key().Sub("steps")
	return func() error { _, err := k.Step(ctx, t, s, key); return err }, s.release, nil
}
