-- A store of format 1, as version 0.1.0 (commit 4072a11) made it, dumped with sqlite3's iterdump:
-- rsbounds.certify_dataset(
--     lambda batch: (batch[:, 0] > 0).astype(np.int64),
--     np.array([[0.4, 0.0], [-0.7, 0.3], [0.01, 0.0]]), [1, 0, 1], store="format1.sqlite",
--     noise=rsbounds.Gaussian(0.12345678901234566), n=1000, n0=50, num_classes=3, alpha=0.01,
--     method="exact", seed=2**62 + 1, model="half-space", split=0.75)
PRAGMA application_id = 1920164452;
BEGIN TRANSACTION;
CREATE TABLE inputs (
    idx INTEGER PRIMARY KEY,
    label INTEGER,
    digest TEXT NOT NULL,
    select_counts TEXT NOT NULL,
    estimate_counts TEXT NOT NULL,
    n0 INTEGER NOT NULL,
    n INTEGER NOT NULL,
    invalid INTEGER NOT NULL,
    alpha REAL NOT NULL,
    method TEXT NOT NULL,
    noise TEXT NOT NULL,
    seed TEXT NOT NULL,
    top INTEGER NOT NULL,
    radius REAL NOT NULL,
    abstained INTEGER NOT NULL,
    seconds REAL NOT NULL
);
INSERT INTO "inputs" VALUES(0,1,'d1423c8059a98f1b','[0, 50, 0]','[1, 999, 0]',50,1000,0,0.01,'exact','gaussian(sigma=0.123457)','4611686018427387905',1,3.05816182401041081195e-01,0,9.08104770239999652386e+01);
INSERT INTO "inputs" VALUES(1,0,'012c96e746e66a36','[50, 0, 0]','[1000, 0, 0]',50,1000,0,0.01,'exact','gaussian(sigma=0.123457)','4611686018427387905',0,3.21576028541286806916e-01,0,1.85222400000384368468e-03);
INSERT INTO "inputs" VALUES(2,1,'5cc609e35cd1525d','[24, 26, 0]','[450, 550, 0]',50,1000,0,0.01,'exact','gaussian(sigma=0.123457)','4611686018427387905',1,3.9461402404451575987e-03,0,1.61871800014523614663e-03);
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "run" VALUES('config','{"model": "half-space", "inputs": 3, "num_classes": 3, "noise": {"name": "gaussian", "sigma": 0.12345678901234566}, "n0": 50, "n": 1000, "alpha": 0.01, "method": "exact", "options": {"split": 0.75}, "seed": 4611686018427387905}');
INSERT INTO "run" VALUES('format','1');
INSERT INTO "run" VALUES('versions','{"rsbounds": "0.1.0", "python": "3.11.7", "numpy": "2.4.6", "scipy": "1.17.1", "numba": "0.68.1"}');
COMMIT;
