//! Calls without the generated clients: any bytes to any method.

use portcullis::proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost::encoding::decode_varint;
use prost_types::FileDescriptorSet;
use prost_types::field_descriptor_proto::{Label, Type};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// Sends bytes to a method, `/portcullis.v1.PolicyService/CheckPermission`, for an actor if one
/// is named.
pub async fn call(
    channel: &Channel,
    method: &str,
    message: Vec<u8>,
    actor: Option<&str>,
) -> Result<Vec<u8>, Status> {
    let actor = actor.map(|actor| ("portcullis-actor", actor));
    call_with(channel, method, message, actor.as_slice()).await
}

/// Sends bytes to a method, with this metadata.
pub async fn call_with(
    channel: &Channel,
    method: &str,
    message: Vec<u8>,
    metadata: &[(&'static str, &str)],
) -> Result<Vec<u8>, Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.expect("the server is there");
    let mut request = Request::new(message);
    for (key, value) in metadata {
        let value = value.parse().expect("metadata in tests is printable ASCII");
        request.metadata_mut().append(*key, value);
    }
    let path: PathAndQuery = method.parse().expect("a path");
    client.unary(request, path, Bytes).await.map(Response::into_inner)
}

/// A method of the contract.
#[derive(Clone, Debug)]
pub struct Method {
    /// `/package.Service/Method`.
    pub path: String,
    /// The full name of what it takes, `.package.Message`.
    pub request: String,
    /// The full name of what it answers.
    pub response: String,
}

/// A field of a message.
#[derive(Clone, Debug)]
pub struct Field {
    pub tag: u32,
    pub name: String,
    pub kind: Type,
    /// The full name of its message, if it is one.
    pub message: String,
    pub repeated: bool,
}

/// The contract, as reflection serves it.
pub struct Contract(FileDescriptorSet);

impl Contract {
    pub fn load() -> Self {
        Self(FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("a descriptor"))
    }

    pub fn methods(&self) -> Vec<Method> {
        let mut methods = Vec::new();
        for file in self.0.file.iter().filter(|file| file.package() == "portcullis.v1") {
            for service in &file.service {
                methods.extend(service.method.iter().map(|method| Method {
                    path: format!("/{}.{}/{}", file.package(), service.name(), method.name()),
                    request: method.input_type().to_owned(),
                    response: method.output_type().to_owned(),
                }));
            }
        }
        methods
    }

    /// The fields of a message, by its full name.
    pub fn fields(&self, message: &str) -> Vec<Field> {
        let found = self.0.file.iter().find_map(|file| {
            let prefix = format!(".{}.", file.package());
            let name = message.strip_prefix(&prefix)?;
            file.message_type.iter().find(|message| message.name() == name)
        });
        let found = found.unwrap_or_else(|| panic!("{message} is in the contract"));
        let field = |field: &prost_types::FieldDescriptorProto| Field {
            tag: u32::try_from(field.number()).expect("a field number"),
            name: field.name().to_owned(),
            kind: field.r#type(),
            message: field.type_name().to_owned(),
            repeated: field.label() == Label::Repeated,
        };
        found.field.iter().map(field).collect()
    }
}

/// The fields of an encoded message, in the order of the wire: varints, and what has a length.
pub fn read(mut bytes: &[u8]) -> Vec<(u32, Value)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = decode_varint(&mut bytes).expect("a key");
        let tag = u32::try_from(key >> 3).expect("a field number");
        let value = match key & 7 {
            0 => Value::Number(decode_varint(&mut bytes).expect("a number")),
            2 => {
                let length = decode_varint(&mut bytes).expect("a length");
                let (value, rest) = bytes.split_at(usize::try_from(length).expect("a length"));
                bytes = rest;
                Value::Bytes(value.to_vec())
            }
            other => panic!("no message of ours has the wire type {other}"),
        };
        fields.push((tag, value));
    }
    fields
}

/// What a field of an encoded message holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

/// A codec that leaves bytes as they are.
#[derive(Clone, Copy)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        prost::bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = prost::bytes::Buf::remaining(buffer);
        Ok(Some(prost::bytes::Buf::copy_to_bytes(buffer, length).to_vec()))
    }
}
