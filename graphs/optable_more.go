package graphs

func init() {
	addOps(
		OpInfo{Name: "TopK", Since: 11, MinIn: 2, MaxIn: 2, MaxOut: 2, Infer: inferTopK},
		OpInfo{Name: "CumProd", Since: 26, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferSame},
		OpInfo{Name: "Compress", Since: 11, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferCompress},
		OpInfo{Name: "ReverseSequence", Since: 10, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferSame},
		OpInfo{Name: "DepthToSpace", Since: 13, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferBlocks},
		OpInfo{Name: "SpaceToDepth", Since: 13, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferBlocks},
		OpInfo{Name: "CenterCropPad", Since: 18, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferCenterCropPad},
		OpInfo{Name: "TensorScatter", Since: 24, MinIn: 2, MaxIn: 3, MaxOut: 1, Infer: inferSame},
		OpInfo{Name: "Det", Since: 11, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferDet},
		OpInfo{Name: "Unique", Since: 11, MinIn: 1, MaxIn: 1, MaxOut: 4, Infer: inferUnique},
		OpInfo{Name: "NonMaxSuppression", Since: 11, MinIn: 2, MaxIn: 5, MaxOut: 1, Infer: inferNonMaxSuppression, Flat: true},
		OpInfo{Name: "BitShift", Since: 11, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferBroadcast, Flat: true},
		OpInfo{Name: "BitwiseNot", Since: 18, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferSame, Flat: true},
		OpInfo{Name: "MatMulInteger", Since: 10, MinIn: 2, MaxIn: 4, MaxOut: 1, Infer: inferMatMulInteger, Flat: true},
		OpInfo{Name: "QuantizeLinear", Since: 19, MinIn: 2, MaxIn: 3, MaxOut: 1, Infer: inferQuantize, Flat: true},
		OpInfo{Name: "Multinomial", Since: 7, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferMultinomial, Flat: true, Random: true},
		OpInfo{Name: "Bernoulli", Since: 15, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferTypedLike, Flat: true, Random: true},
		OpInfo{Name: "MelWeightMatrix", Since: 17, MinIn: 5, MaxIn: 5, MaxOut: 1, Infer: inferMelWeights, Flat: true},
	)
	for _, op := range []string{"BitwiseAnd", "BitwiseOr", "BitwiseXor"} {
		addOps(OpInfo{Name: op, Since: 18, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferBroadcast, Flat: true})
	}
	for _, op := range []string{"RandomNormal", "RandomUniform"} {
		addOps(
			OpInfo{Name: op, Since: 1, MinIn: 0, MaxIn: 0, MaxOut: 1, Infer: inferRandom, Flat: true, Random: true},
			OpInfo{Name: op + "Like", Since: 1, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferTypedLike, Flat: true, Random: true},
		)
	}
	for _, op := range []string{"HannWindow", "HammingWindow", "BlackmanWindow"} {
		addOps(OpInfo{Name: op, Since: 17, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferWindowFunction, Flat: true})
	}
}
