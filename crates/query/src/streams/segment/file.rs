//! How a segment's file is laid out: Parquet that any reader opens and that costs little to replay.

use super::{ID_MS, ID_SEQUENCE, REST};
use crate::catalog::StreamDefinition;
use crate::streams::columns_of;
use crate::values::types::{Column, ColumnType, loose_schema_of};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::basic::{Compression, Encoding, ZstdLevel};
use datafusion::parquet::errors::Result;
use datafusion::parquet::file::properties::{WriterProperties, WriterVersion};
use datafusion::parquet::schema::types::ColumnPath;

/// Rows that a reader can skip together, by their statistics.
const ROW_GROUP_ROWS: usize = 128 * 1024;
/// A page that compression does not make smaller than this share of itself is left as it is.
const COMPRESSED_MAX: f64 = 0.75;
/// Numbers of 64 bits have a dictionary while it has at most a value for every eight rows. Larger
/// ones cost more than they save: of a running number or an amount, every value is in them.
const NUMBERS_DICTIONARY_MAX_BYTES: usize = ROW_GROUP_ROWS;

/// The columns of a segment's file: the parts of the ID, the stream's columns, and the fields that
/// are no columns.
pub(super) fn segment_schema(stream: &StreamDefinition) -> SchemaRef {
    loose_schema_of(&segment_columns(stream))
}

fn segment_columns(stream: &StreamDefinition) -> Vec<Column> {
    let column = |name: &str, kind| Column::plain(name, kind, true);
    let mut columns =
        vec![column(ID_MS, ColumnType::Bigint), column(ID_SEQUENCE, ColumnType::Bigint)];
    columns.extend(columns_of(stream));
    columns.push(column(REST, ColumnType::Json));
    columns
}

pub(super) fn segment_properties(stream: &StreamDefinition) -> Result<WriterProperties> {
    let mut properties = WriterProperties::builder()
        // Only its pages can say, one by one, that they are not compressed.
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_encoding(Encoding::PLAIN)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_data_page_v2_compression_ratio_threshold(COMPRESSED_MAX)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    for column in segment_columns(stream) {
        let Some(encoding) = encoding_of(column.kind) else { continue };
        let path = ColumnPath::from(column.name.as_str());
        properties = properties
            .set_column_encoding(path.clone(), encoding)
            .set_column_dictionary_page_size_limit(path, NUMBERS_DICTIONARY_MAX_BYTES);
    }
    for name in [ID_MS, ID_SEQUENCE] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(name), false);
    }
    Ok(properties.build())
}

/// How the values of a column are written where they have no dictionary, if not one after the
/// other.
fn encoding_of(kind: ColumnType) -> Option<Encoding> {
    /// The most digits of a decimal that is stored as an integer of 64 bits.
    const INTEGER_DIGITS: u8 = 18;
    match kind {
        ColumnType::Smallint
        | ColumnType::Integer
        | ColumnType::Bigint
        | ColumnType::Date
        | ColumnType::Time
        | ColumnType::Timestamp
        | ColumnType::TimestampTo(_)
        | ColumnType::TimestamptzTo(_)
        | ColumnType::Timestamptz => Some(Encoding::DELTA_BINARY_PACKED),
        ColumnType::Decimal(digits, _) if digits <= INTEGER_DIGITS => {
            Some(Encoding::DELTA_BINARY_PACKED)
        }
        // Zstandard finds the bytes that repeat when they lie together.
        ColumnType::Real | ColumnType::Double => Some(Encoding::BYTE_STREAM_SPLIT),
        ColumnType::Decimal(..)
        | ColumnType::Boolean
        | ColumnType::Text
        | ColumnType::Json
        | ColumnType::Varchar(_)
        | ColumnType::Char(_)
        | ColumnType::Numeric
        | ColumnType::NumericTo(..)
        | ColumnType::Jsonb
        | ColumnType::Uuid
        | ColumnType::Interval
        | ColumnType::Array(_)
        | ColumnType::Bytea => None,
    }
}
