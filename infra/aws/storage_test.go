package aws

import (
	"fmt"
	"strings"
)

// isTrue is what a template means by true.
func isTrue(v any) bool { return text(v) == "true" }

// keyed are the properties that name the key of what is stored, by type.
var keyed = map[string][]string{
	"AWS::SQS::Queue":      {"KmsMasterKeyId"},
	"AWS::SNS::Topic":      {"KmsMasterKeyId"},
	"AWS::Logs::LogGroup":  {"KmsKeyId"},
	"AWS::EFS::FileSystem": {"KmsKeyId"},
	"AWS::RDS::DBCluster":  {"KmsKeyId", "MasterUserSecret.KmsKeyId"},
}

// encryption: what is stored is encrypted with a key of this system, and what
// is sent by TLS.
func encryption(s *system, r *report) {
	for one := range s.each() {
		properties := keyed[one.kind]
		if one.kind == "AWS::RDS::DBInstance" {
			properties = []string{"PerformanceInsightsKMSKeyId"}
			if one.props["DBClusterIdentifier"] == nil { // else the cluster's storage
				properties = append(properties, "KmsKeyId", "MasterUserSecret.KmsKeyId")
			}
		}
		for _, property := range properties {
			if at(one.props, strings.Split(property, ".")...) == nil {
				r.add("%v: %s is not set", one, property)
			}
		}
		isCluster, isAlone := one.kind == "AWS::RDS::DBCluster", one.kind == "AWS::RDS::DBInstance" && one.props["DBClusterIdentifier"] == nil
		switch {
		case isCluster || isAlone:
			r.want(one, "StorageEncrypted", one.props["StorageEncrypted"], true)
		case one.kind == "AWS::EFS::FileSystem":
			r.want(one, "Encrypted", one.props["Encrypted"], true)
		case one.kind == "AWS::KMS::Key":
			r.want(one, "EnableKeyRotation", one.props["EnableKeyRotation"], true)
			r.want(one, "DeletionPolicy", one.attrs["DeletionPolicy"], "Retain")
			r.want(one, "UpdateReplacePolicy", one.attrs["UpdateReplacePolicy"], "Retain")
		case one.kind == "AWS::RDS::DBProxy":
			r.want(one, "RequireTLS", one.props["RequireTLS"], true)
		case one.kind == "AWS::RDS::DBParameterGroup" || one.kind == "AWS::RDS::DBClusterParameterGroup":
			r.want(one, "rds.force_ssl", at(one.props, "Parameters", "rds.force_ssl"), "1")
		case one.kind == "AWS::ApiGatewayV2::DomainName":
			for _, name := range items(one.props["DomainNameConfigurations"]) {
				r.want(one, "SecurityPolicy", at(name, "SecurityPolicy"), "TLS_1_2")
			}
		}
		walk(one.props, func(v any) {
			if volume := dict(dict(v)["EFSVolumeConfiguration"]); len(volume) > 0 {
				r.want(one, "TransitEncryption", volume["TransitEncryption"], "ENABLED")
				r.want(one, "IAM", at(volume, "AuthorizationConfig", "IAM"), "ENABLED")
			}
		})
	}
	for program, set := range s.environments() {
		r.want(program, "DATABASE_SSLMODE", show(set["DATABASE_SSLMODE"]), show([]any{"verify-full"}))
	}
	plainRefused(s, r)
}

// plainRefused: the policies of queues and file systems deny what is not TLS.
func plainRefused(s *system, r *report) {
	for _, id := range []string{"EncryptedOnly", "FileSystem"} {
		denies := false
		for _, p := range s.policies() {
			denies = denies || (p.of.id == id && p.deny && p.anyone && text(at(p.when, "Bool", "aws:SecureTransport")) == "false")
		}
		if !denies {
			r.add("%v: nothing denies what is not encrypted on its way", s.find(id))
		}
	}
}

// private: nothing of the system can be reached from outside but the API, and
// through the gateway only.
func private(s *system, r *report) {
	for one := range s.each() {
		switch one.kind {
		case "AWS::RDS::DBInstance":
			r.want(one, "PubliclyAccessible", one.props["PubliclyAccessible"], false)
		case "AWS::EC2::SecurityGroup":
			for _, rule := range items(one.props["SecurityGroupIngress"]) {
				fromOutside(r, one, dict(rule))
			}
		case "AWS::EC2::SecurityGroupIngress":
			fromOutside(r, one, one.props)
		case "AWS::Lambda::Url", "AWS::ElasticLoadBalancingV2::LoadBalancer":
			r.add("%v: a %s is a door beside the gateway", one, one.kind)
		case "AWS::EC2::Subnet":
			if isTrue(one.props["MapPublicIpOnLaunch"]) {
				r.add("%v gives everything a public address", one)
			}
		case serverlessFunction:
			if one.props["FunctionUrlConfig"] != nil {
				r.add("%v has a URL of its own", one)
			}
			r.want(one, "the subnets", show(at(one.props, "VpcConfig", "SubnetIds")), show(object{"Fn::Split": []any{",", object{"Fn::GetAtt": []any{"Network", "Outputs.PrivateSubnets"}}}}))
		case "AWS::ECS::Service":
			r.want(one, "EnableExecuteCommand", one.props["EnableExecuteCommand"], false)
			r.want(one, "AssignPublicIp", at(one.props, "NetworkConfiguration", "AwsvpcConfiguration", "AssignPublicIp", "Ref"), "AssignPublicIp")
		}
	}
	r.want("template.yaml Database", "its subnets", show(at(s.root.resource("Database").props, "Parameters", "Subnets")), show(object{"Fn::GetAtt": []any{"Network", "Outputs.PrivateSubnets"}}))
}

// fromOutside: only groups of this system are let in, never addresses.
func fromOutside(r *report, group resource, rule object) {
	if rule["CidrIp"] != nil || rule["CidrIpv6"] != nil || rule["SourcePrefixListId"] != nil {
		r.add("%v lets addresses in: %s", group, show(rule))
	}
	if at(rule, "SourceSecurityGroupId", "Ref") == nil {
		r.add("%v lets in who is in no group of it: %s", group, show(rule))
	}
}

// database: it survives a mistake, and its password is nobody's.
func database(s *system, r *report) {
	for one := range s.each("AWS::RDS::DBInstance", "AWS::RDS::DBCluster") {
		if one.kind == "AWS::RDS::DBInstance" {
			r.want(one, "CACertificateIdentifier", one.props["CACertificateIdentifier"], "rds-ca-rsa2048-g1")
			if one.props["DBClusterIdentifier"] != nil {
				continue
			}
		}
		r.want(one, "ManageMasterUserPassword", one.props["ManageMasterUserPassword"], true)
		r.want(one, "DeletionPolicy", one.attrs["DeletionPolicy"], "Snapshot")
		r.want(one, "UpdateReplacePolicy", one.attrs["UpdateReplacePolicy"], "Snapshot")
		r.want(one, "DeletionProtection", at(one.props, "DeletionProtection", "Ref"), "DeletionProtection")
		r.want(one, "BackupRetentionPeriod", at(one.props, "BackupRetentionPeriod", "Ref"), "BackupDays")
		if one.props["MasterUserPassword"] != nil {
			r.add("%v has a password that somebody knows", one)
		}
	}
	for group := range s.each("AWS::RDS::DBParameterGroup", "AWS::RDS::DBClusterParameterGroup") {
		// Parameters of statements hold QR codes.
		for _, name := range []string{"log_parameter_max_length", "log_parameter_max_length_on_error"} {
			r.want(group, name, at(group.props, "Parameters", name), "0")
		}
	}
	if least := text(at(s.root.parameters["DatabaseBackupDays"], "MinValue")); least != "1" {
		r.add("template.yaml: DatabaseBackupDays may be %s", least)
	}
	r.want("template.yaml", "DeletionProtection's default", at(s.root.parameters["DeletionProtection"], "Default"), true)
	for _, t := range s.templates() {
		walk(t.all, func(v any) {
			for key := range dict(v) {
				if key == "MasterUserPassword" || key == "DATABASE_URL" {
					r.add("%s: %s would be a password in a template", t.file, key)
				}
			}
		})
	}
}

// logGroups: every function and task writes into a group that a template makes,
// and every group forgets.
func logGroups(s *system, r *report) {
	names := map[string]resource{}
	for group := range s.each("AWS::Logs::LogGroup") {
		names[show(group.props["LogGroupName"])] = group
		if at(group.props, "RetentionInDays", "Ref") != "LogRetentionDays" {
			r.add("%v never forgets", group)
		}
	}
	for f := range s.each(serverlessFunction) {
		want := show(object{"Fn::Sub": "/aws/lambda/" + text(at(f.props, "FunctionName", "Fn::Sub"))})
		group, ok := names[want]
		if !ok {
			r.add("%v: there is no log group %s", f, want)
			continue
		}
		if depends := words(f.attrs["DependsOn"]); !strings.Contains(fmt.Sprint(depends), group.id) {
			r.add("%v may make its log group itself: it does not wait for %s", f, group.id)
		}
	}
	for task := range s.each("AWS::ECS::TaskDefinition") {
		for _, c := range items(task.props["ContainerDefinitions"]) {
			group := task.in.resource(text(at(c, "LogConfiguration", "Options", "awslogs-group", "Ref")))
			r.want(task, "what it logs to", group.kind, "AWS::Logs::LogGroup")
		}
	}
	for log := range s.each("AWS::EC2::FlowLog") {
		r.want(log, "what it logs to", log.in.resource(text(at(log.props, "LogGroupName", "Ref"))).kind, "AWS::Logs::LogGroup")
	}
}
