#!/usr/bin/env bash
# Fetches Spark with Delta, the reader that is nearest to Databricks: PySpark from PyPI, the Delta
# jars from Maven. Only the check that reads the tables with Spark needs it.
#
# usage: spark.sh CACHE_DIR              -> prints the directory with bin/python and jars/
#        spark.sh CACHE_DIR --if-cached  -> the same when it is there already, else status 3
set -euo pipefail

pyspark=4.1.4
delta=4.4.0
out="${1:?usage: spark.sh CACHE_DIR [--if-cached]}/spark-$pyspark-delta-$delta"
if [ -e "$out/complete" ]; then echo "$out"; exit 0; fi
[ "${2:-}" != --if-cached ] || exit 3
command -v mvn > /dev/null || { echo "mvn is missing; remedy: apt-get install maven" >&2; exit 1; }

echo "fetching PySpark $pyspark and Delta $delta (480 MB, some minutes, once)" >&2
rm -rf "$out"
mkdir -p "$out/pom"
python3 -m venv "$out"
# PySpark is a source package, so its build needs setuptools, which isolation fetches.
"$out/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r /dev/stdin >&2 << END
pyspark==$pyspark --hash=sha256:bcbd5e18690cf79d438e97210ad06fb8d451a251bb77becc2b0418868d2acd73
py4j==0.10.9.9 --hash=sha256:c7c26e4158defb37b0bb124933163641a2ff6e3a3913f7811b0ddbe07ed61533
END

cat > "$out/pom/pom.xml" << END
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>throughline.tests</groupId>
  <artifactId>spark-reader</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>io.delta</groupId>
      <artifactId>delta-spark_4.1_2.13</artifactId>
      <version>$delta</version>
      <exclusions>
        <exclusion><groupId>org.apache.spark</groupId><artifactId>*</artifactId></exclusion>
      </exclusions>
    </dependency>
  </dependencies>
</project>
END
# Maven compares each file with the checksum that its repository gives.
mvn --quiet --batch-mode --strict-checksums --file "$out/pom/pom.xml" \
    dependency:copy-dependencies -DoutputDirectory="$out/jars" >&2
touch "$out/complete"
echo "$out"
