package losses

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDefaults: a bare name has the documented defaults, and stating them changes nothing.
func TestDefaults(t *testing.T) {
	one := 1.0
	for text, want := range map[string]Loss{
		"cd":                 NewCD(),
		"sm":                 &ScoreMatching{},
		"ssm":                &SlicedScoreMatching{Projections: 1},
		"sm-hutchinson":      &SlicedScoreMatching{Projections: 1, Hutchinson: true},
		"dsm":                &DenoisingScoreMatching{Sigmas: []float64{0.1}},
		"energy-discrepancy": &EnergyDiscrepancy{T: 0.1, M: 16, W: &one},
		"nce":                &NCE{Noise: Gaussian{}},
		"pcd": &Contrastive{Label: "pcd", Alpha: 1,
			Source: Source{Start: FromBuffer, Steps: 10, Init: Gaussian{}, Buffer: &ReplayBuffer{Size: 10000, Reinit: 0.05, Init: Gaussian{}}}},
		"mle": &Contrastive{Label: "mle", Alpha: 1, Source: Source{Start: FromNoise, Steps: 10, Init: Gaussian{}}},
	} {
		got, err := New(text, Options{})
		require.NoError(t, err)
		require.Equal(t, want, got, text)
	}
	for bare, stated := range map[string]string{
		"ssm":                "ssm:projections=1:vectors=rademacher",
		"cd":                 "cd:k=10:alpha=1:l1=0:l2=0:energy-penalty=0:negatives=0",
		"pcd":                "pcd:k=10:buffer=10000:reinit=0.05",
		"energy-discrepancy": "energy-discrepancy:t=0.1:m=16:w=1",
	} {
		a, err := New(bare, Options{})
		require.NoError(t, err)
		b, err := New(stated, Options{})
		require.NoError(t, err)
		require.Equal(t, a, b, bare)
	}
	for _, usage := range Usages() {
		// The first of the alternatives, and no ellipsis, is a specification.
		text := strings.NewReplacer("|uniform|mixture|fitted", "", "|gaussian|sphere", "", "|sigma2", "", "[,…]", "").Replace(usage)
		_, err := New(text, Options{})
		require.NoError(t, err, usage)
	}
	nce, err := New("nce:noise=gaussian:nu=1:learn-log-z=true", Options{})
	require.NoError(t, err)
	require.Equal(t, &NCE{Noise: Gaussian{}, Nu: 1}, nce)
}

func TestSettings(t *testing.T) {
	make1 := func(text string, o Options) Loss {
		l, err := New(text, o)
		require.NoError(t, err)
		return l
	}
	cd := make1("CD:K=5:Alpha=0.5:l1=0.1:l2=0.2:energy-penalty=0.3:negatives=7", Options{Chains: halving{}}).(*Contrastive)
	require.Equal(t, 5, cd.Steps)
	require.Equal(t, 0.5, cd.Alpha)
	require.Equal(t, Penalty{L1: 0.1, L2: 0.2}, cd.Penalty)
	require.Equal(t, 0.3, cd.EnergyPenalty)
	require.Equal(t, 7, cd.Count)
	require.Equal(t, halving{}, cd.Chains)
	require.Equal(t, 0.0, make1("cd:alpha=0", Options{}).(*Contrastive).Alpha)
	require.Equal(t, 0.0, make1("pcd:reinit=0", Options{}).(*Contrastive).Buffer.Reinit)

	dsm := make1("dsm:sigma=0.10,0.3:weight=ONE", Options{}).(*DenoisingScoreMatching)
	require.Equal(t, []float64{0.1, 0.3}, dsm.Sigmas)
	require.Equal(t, []string{"0.10", "0.3"}, dsm.Labels)
	require.Equal(t, WeightOne, dsm.Weight)
	dsm = make1("dsm", Options{Values: map[string]string{"sigma": "0.2", "weight": "sigma2"}}).(*DenoisingScoreMatching)
	require.Equal(t, []float64{0.2}, dsm.Sigmas)
	require.Equal(t, WeightSigma2, dsm.Weight)

	vr := make1("SSM-VR:vectors=Sphere:projections=3", Options{}).(*SlicedScoreMatching)
	require.Equal(t, "sm-hutchinson", vr.Name())
	require.Equal(t, Sphere, vr.Vectors)
	require.Equal(t, 3, vr.Projections)

	nce := make1("nce:noise=fitted:learn-log-z=false:log-z=2", Options{Data: []float32{1, 3}, Dim: 1}).(*NCE)
	require.Equal(t, Gaussian{Mean: []float64{2}, Std: []float64{1}}, nce.Noise)
	require.True(t, nce.FixedLogZ)
	require.Equal(t, 2.0, nce.LogZ())
	require.Equal(t, Uniform{}, make1("nce", Options{Noise: Uniform{}}).(*NCE).Noise)

	same := make1("cd:k=5", Options{Values: map[string]string{"k": "5"}}).(*Contrastive)
	require.Equal(t, 5, same.Steps)
	require.Equal(t, 0.0, *make1("energy-discrepancy:w=0", Options{}).(*EnergyDiscrepancy).W)
}

func TestFactoryErrors(t *testing.T) {
	for text, says := range map[string]string{
		"foo":                         "cd, dsm, energy-discrepancy, mle, nce, pcd, sm, sm-hutchinson, ssm, ssm-vr",
		"":                            "no name",
		"dsm:sgima=1":                 "sigma, weight",
		"dsm:sigma=0":                 "greater than 0",
		"dsm:sigma=a":                 "not a finite number",
		"dsm:weight=two":              "one, sigma2",
		"cd:k=-1":                     "at least 0",
		"cd:reinit=0.1":               "unknown key reinit",
		"cd:10":                       "takes no list",
		"pcd:reinit=2":                "probability",
		"pcd:buffer=0":                "at least 1",
		"ssm:vectors=cube":            "gaussian, rademacher, sphere",
		"ssm:projections=0":           "at least 1",
		"nce:nu=0":                    "greater than 0",
		"nce:noise=cauchy":            "gaussian",
		"nce:low=1":                   "mean, std",
		"nce:learn-log-z=perhaps":     "true or false",
		"energy-discrepancy:m=0":      "at least 1",
		"energy-discrepancy:t=0":      "greater than 0",
		"sm:l2=-1":                    "negative",
		"sm:projections=2":            "l1, l2, gradient-penalty",
		"cd:k=10:k=3":                 "twice",
		"energy-discrepancy:w=-0.001": "negative",
	} {
		_, err := New(text, Options{})
		require.ErrorContains(t, err, says, text)
		require.ErrorContains(t, err, "losses: ", text)
		require.NotContains(t, err.Error(), "\n", text)
	}
	_, err := New("cd:k=5", Options{Values: map[string]string{"k": "6"}})
	require.ErrorContains(t, err, "k is given twice, as 5 and as 6")
	_, err = New("dsm", Options{Values: map[string]string{"k": "6"}})
	require.ErrorContains(t, err, "unknown key k")
}
