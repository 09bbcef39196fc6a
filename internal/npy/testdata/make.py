"""Writes the files of this folder with NumPy (2.4.6). Run it in place."""

import numpy as np

a = (np.arange(24).reshape(2, 3, 4) * 0.5 - 3).astype("<f4")
np.save("c_f4.npy", a)
np.save("fortran_f4.npy", np.asfortranarray(a))
np.save("big_f4.npy", a.astype(">f4"))
np.save("c_f8.npy", a.astype("<f8"))
np.save("fortran_big_f8.npy", np.asfortranarray(a.astype(">f8")))
np.save("scalar_f4.npy", np.float32(2.5))
np.save("scalar_f8.npy", np.float64(-1.25))
np.save("vector_f8.npy", np.array([1.0, -2.0, 3.5]))
np.save("empty_f4.npy", np.zeros((0, 2), np.float32))
np.save("labels_i8.npy", np.array([[3, -1], [0, 7]], "<i8"))
np.save("labels_u1.npy", np.array([0, 255, 3], "u1"))
np.save("labels_big_i4.npy", np.array([1, -2, 3], ">i4"))
np.save("bool.npy", np.array([True, False]))
np.save("half.npy", np.array([1.0], np.float16))
np.save("complex.npy", np.array([1j]))
np.save("object.npy", np.array([None], object), allow_pickle=True)
np.save("struct.npy", np.zeros(2, [("a", "<f4"), ("b", "<i4")]))
np.save("nan_f4.npy", np.array([[1, 2], [3, np.nan], [np.inf, 0]], np.float32))
np.save("huge_f8.npy", np.array([[0.0], [1e300]]))
with open("version2_f4.npy", "wb") as f:
    np.lib.format.write_array(f, a, version=(2, 0))
with open("version3_f4.npy", "wb") as f:
    np.lib.format.write_array(f, a, version=(3, 0))
np.savez("stored.npz", x=a, y=np.array([1, 2], "<i8"), **{"grad/w.0": a.astype("<f8")})
np.savez_compressed("compressed.npz", x=np.asfortranarray(a), s=np.float32(4))
